/** The name of the person at this browser, as it was given last. Of a server without a log-in: it is what the person says. */
import { choice } from "./stored";

const name = choice<string>("name", (text) => text, "");

export const ownName = (): string => name.value.peek();

export const rememberName = name.choose;
