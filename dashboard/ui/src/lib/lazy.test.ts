import { expect, test } from "vitest";
import { lazy } from "./lazy";

test("a part is fetched once, however often it is wanted", async () => {
  let fetched = 0;
  const part = lazy(async () => ++fetched);
  part.load();
  part.load();
  await Promise.resolve();
  expect(part.part.value).toBe(1);
  part.load();
  await Promise.resolve();
  expect(fetched).toBe(1);
});

test("a failure shows and the next wish asks again", async () => {
  const answers = [Promise.reject(new Error("gone")), Promise.resolve("here")];
  const part = lazy(() => answers.shift() as Promise<string>);
  part.load();
  await new Promise((done) => setTimeout(done));
  expect(part.failed.value).toBe(true);
  expect(part.part.value).toBeNull();
  part.load();
  await new Promise((done) => setTimeout(done));
  expect(part.failed.value).toBe(false);
  expect(part.part.value).toBe("here");
});
