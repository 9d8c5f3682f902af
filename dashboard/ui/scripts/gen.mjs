// Generates src/gen/live_pb.ts from proto/proto/starling/live/v1/live.proto, which is the reference.
//
// With --check nothing is written: the script generates into a temporary folder and fails when the committed
// file differs. Works offline: both buf and protoc-gen-es are programs from node_modules.
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ui = join(dirname(fileURLToPath(import.meta.url)), "..");
const protos = join(ui, "..", "..", "proto", "proto");
const committed = join(ui, "src", "gen", "live_pb.ts");
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
      "--path",
      join(protos, "starling", "live", "v1", "live.proto"),
      "--template",
      JSON.stringify(template),
    ],
    { stdio: ["ignore", "inherit", "inherit"] },
  );
  const generated = readFileSync(join(scratch, "starling", "live", "v1", "live_pb.ts"), "utf8");
  if (check) {
    if (readFileSync(committed, "utf8") !== generated) {
      console.error("src/gen/live_pb.ts does not match live.proto: run `npm run gen` and commit the result");
      process.exitCode = 1;
    }
  } else {
    mkdirSync(dirname(committed), { recursive: true });
    writeFileSync(committed, generated);
  }
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
