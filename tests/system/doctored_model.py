"""Copies of the bundled model with something changed in them."""
import json
import shutil
import struct

from daemon import MODEL

# A value of bfloat16, whose largest number is 3.39e38.
TWO_E38 = struct.pack("<H", 0x7F16)
# Far above what the layers add, and a weight that picks the next token.
TEN_THOUSAND, HUNDRED = struct.pack("<H", 0x461C), struct.pack("<H", 0x42C8)

# The character that stands for each byte in a byte-level vocabulary.
PRINTABLE = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
OTHERS = [byte for byte in range(256) if byte not in PRINTABLE]
ALPHABET = {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + i) for i, byte in enumerate(OTHERS)}


def overwrite_tensor(checkpoint, name, change):
    """Lets `change(shape, content)` alter the bytes of one tensor of a safetensors file in place."""
    data = bytearray(checkpoint.read_bytes())
    header_bytes = struct.unpack("<Q", data[:8])[0]
    entry = json.loads(data[8:8 + header_bytes])[name]
    first, last = (8 + header_bytes + offset for offset in entry["data_offsets"])
    content = data[first:last]
    change(entry["shape"], content)
    assert len(content) == last - first
    data[first:last] = content
    checkpoint.write_bytes(data)


def copy_with_overflow(folder, token_id=100, dimension=0):
    """Its logit of `token_id` is 2e38 times one dimension of the hidden state: where that is above 1.7, or below -1.7,
    the logit is not finite. That is so after some prompts, and not after others."""
    shutil.copytree(MODEL, folder)

    def change(shape, content):
        row_bytes = 2 * shape[1]
        row = bytearray(row_bytes)
        row[2 * dimension:2 * dimension + 2] = TWO_E38
        content[row_bytes * token_id:row_bytes * (token_id + 1)] = row

    overwrite_tensor(folder / "model.safetensors", "lm_head.weight", change)
    return folder


# Prints everything, whatever it is.
PLAIN = ("{{ bos_token }}{% for m in messages %}{{ m.reasoning_content }}{{ m.content or '' }}"
         "{% for c in m.tool_calls %}{{ '[' + c.function.name + ' ' + c.function.arguments + ']' }}{% endfor %}"
         "{% endfor %}{{ WRITTEN }}")


def copy_with_script(folder, prompt_end, script, end_of_sequence=1, template=PLAIN):
    """A model that answers with one script. Its tokenizer has a token for each byte and one for each text of `script`,
    where a bytes object stands for its bytes; `prompt_end` is what the chat template writes for WRITTEN, behind the
    messages. A token may occur once: its hidden state points along a dimension of its own, and the logits along that to
    its successor. Returns the ids of the script, end-of-sequence included."""
    shutil.copytree(MODEL, folder)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"] = []
    byte_ids = {text: token_id for text, token_id in tokenizer["model"]["vocab"].items() if len(text) == 1}
    tokenizer["model"]["vocab"] = byte_ids
    added = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    texts = dict.fromkeys(text for text in [*prompt_end, *script] if isinstance(text, str))
    own = {text: 1000 + i for i, text in enumerate(texts)}
    tokenizer["added_tokens"] = [token for token in tokenizer["added_tokens"] if token["special"]]
    tokenizer["added_tokens"] += [{"id": token_id, "content": text, **added} for text, token_id in own.items()]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))

    config = json.loads((folder / "tokenizer_config.json").read_text())
    written = "".join(text if isinstance(text, str) else text.decode() for text in prompt_end)
    config["chat_template"] = template.replace("WRITTEN", json.dumps(written, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))

    def ids_of(texts):
        return [token_id for text in texts
                for token_id in ([own[text]] if isinstance(text, str) else [byte_ids[ALPHABET[b]] for b in text])]

    ids = [*ids_of(script), end_of_sequence]
    chain = [ids_of(prompt_end)[-1], *ids]
    assert len(set(chain)) == len(chain), "each token has one successor"

    def point(rows, value):
        def change(shape, content):
            for dimension, row in enumerate(rows):
                first = 2 * shape[1] * row
                content[first:first + 2 * shape[1]] = bytes(2 * shape[1])
                content[first + 2 * dimension:first + 2 * dimension + 2] = value
        return change

    overwrite_tensor(folder / "model.safetensors", "model.embed_tokens.weight", point(chain[:-1], TEN_THOUSAND))
    overwrite_tensor(folder / "model.safetensors", "lm_head.weight", point(chain[1:], HUNDRED))
    return ids
