// Generates src/gen/starling from proto/proto/starling: live.proto and what it is made of. The .proto files are the
// reference.
//
// With --check nothing is written: the script generates into a temporary folder and fails when a committed file
// differs. Works offline: both buf and protoc-gen-es are programs from node_modules.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ui = join(dirname(fileURLToPath(import.meta.url)), "..");
const protos = join(ui, "..", "..", "proto", "proto");
const committed = join(ui, "src", "gen");
/** Below both folders, without what follows the name. */
const FILES = ["starling/live/v1/live", "starling/v1/alerts", "starling/v1/cluster"];
/** What the page speaks, and what that is made of: the rest of these files would only make the page larger. */
const ROOT = "starling.live.v1";
const check = process.argv.includes("--check");

const scratch = mkdtempSync(join(tmpdir(), "starling-gen-"));
try {
  const template = {
    version: "v2",
    plugins: [
      {
        local: ["node", join(ui, "node_modules", ".bin", "protoc-gen-es")],
        out: scratch,
        opt: ["target=ts"],
      },
    ],
  };
  execFileSync(
    join(ui, "node_modules", ".bin", "buf"),
    [
      "generate",
      protos,
      ...FILES.flatMap((file) => ["--path", join(protos, `${file}.proto`)]),
      "--type",
      ROOT,
      "--template",
      JSON.stringify(template),
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  for (const file of FILES.map((file) => `${file}_pb.ts`)) {
    const generated = readFileSync(join(scratch, file), "utf8");
    const target = join(committed, file);
    if (!check) {
      mkdirSync(dirname(target), { recursive: true });
      writeFileSync(target, generated);
    } else if (!existsSync(target) || readFileSync(target, "utf8") !== generated) {
      console.error(`src/gen/${file} does not match its .proto: run \`npm run gen\` and commit the result`);
      process.exitCode = 1;
    }
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
