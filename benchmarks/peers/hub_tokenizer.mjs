// Encodes a text with Hugging Face's own tokenizer code from the tokenizer.json that `sora` wrote, and compares the ids with the shard.
//
//   npm install --prefix /tmp/hub --ignore-scripts @huggingface/tokenizers@0.2.0
//   ./sora data prepare TEXT.txt -o CORPUS --validation-split 0 --vocab-size 4096
//   NODE_MODULES=/tmp/hub/node_modules node benchmarks/peers/hub_tokenizer.mjs CORPUS TEXT.txt
//
// Prints one JSON line; the exit code is 1 when an id or the decoded text differs.
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [corpus, textFile] = process.argv.slice(2);
const library = join(resolve(process.env.NODE_MODULES ?? "node_modules"), "@huggingface/tokenizers");
const manifest = JSON.parse(readFileSync(join(library, "package.json"), "utf8"));
const { Tokenizer } = await import(pathToFileURL(join(library, manifest.module ?? manifest.main)));

const read = (name) => JSON.parse(readFileSync(join(corpus, name), "utf8"));
const tokenizer = new Tokenizer(read("tokenizer.json"), read("tokenizer_config.json"));
const text = readFileSync(textFile, "utf8");
const theirs = tokenizer.encode(text, { add_special_tokens: false }).ids;

const { dtype, tokenizer: { vocab_size } } = read("manifest.json");
const shard = readFileSync(join(corpus, "train-00000.bin"));
const bytes = shard.buffer.slice(shard.byteOffset, shard.byteOffset + shard.length);
const ours = [...(dtype === "uint16" ? new Uint16Array(bytes) : new Uint32Array(bytes))].slice(0, -1); // the last ends the document

const length = Math.max(ours.length, theirs.length);
const first = [...Array(length).keys()].find((i) => ours[i] !== theirs[i]) ?? null;
const decoded = tokenizer.decode(ours, { skip_special_tokens: false, clean_up_tokenization_spaces: false }) === text;
console.log(JSON.stringify({ library: `${manifest.name} ${manifest.version}`, vocab_size, ids: ours.length, theirs: theirs.length, first_difference: first, decodes_to_the_text: decoded }));
process.exit(first === null && decoded ? 0 : 1);
