"""Random texts and ids through the daemon's tokenizer and the tokenizers package: the bundled one, variants of it whose
added tokens have other flags, and DeepSeek-V3's. Skipped where the package is missing; tests/data/tokenizer holds
values that it gave.

usage: tokenizer_comparison_test.py [--record TOKENIZER.JSON FILE.XZ]
--record writes texts of ours with the ids that the package gives them, for tokenizer_golden_test.cc."""
import json
import lzma
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

import daemon
from daemon import pb

try:
    import tokenizers
except ImportError:
    tokenizers = None

SEED, CASES = int(os.environ.get("LATENTD_TOKENIZER_SEED", 20261130)), 1500
DEEPSEEK = pathlib.Path(os.environ.get("LATENTD_GOLDENS", daemon.ROOT.parent / "shared")) / "tokenizers/deepseek_v3"
CHARACTERS = ["abc XYZ  ", "the king and queen ", "0123456789 ", "\n\r\t\x0b\x0c\x85\u2028\u00a0\u3000 ", "éüßñÅ",
              "\u0301\u0308e\u0300", "日本語中文한국어ひらカナ", "🦊👩‍👩‍👧‍👦🏽🇩🇪", "عربي עברית", "<｜>|▁_-.,;:!?'\"`~@#$%^&*()[]{}",
              "\u200b\u200d\ufeff\u00ad\u2060", "ǅΣςİıſﬁ", "٣四五½²Ⅷ", "\x00\x01\x7f\x80",
              "\U0001f9d1\U000e0001\U0010ffff", "'s 't 're 've 'LL 'd"]


def random_text(chance, added):
    text = ""
    for _ in range(chance.randrange(1, 12)):
        kind = chance.random()
        token = chance.choice(added)
        cut = chance.randrange(len(token))
        if kind < 0.15:
            text += token
        elif kind < 0.2:
            text += chance.choice([token[:cut], token[cut:]])
        elif kind < 0.25:
            text += chance.choice(" \n\taé中") * chance.choice([1, 2, 3, 7, 30, 300])
        elif kind < 0.35:
            codes = [chance.randrange(0x110000) for _ in range(chance.randrange(6))]
            text += "".join(chr(code) for code in codes if not 0xD800 <= code < 0xE000)
        else:
            characters = chance.choice(CHARACTERS)
            text += "".join(chance.choice(characters) for _ in range(chance.randrange(1, 15)))
    return text


@unittest.skipIf(tokenizers is None, "there is no tokenizers package")
class TokenizerComparison(unittest.TestCase):
    def compare(self, folder, cases=CASES):
        reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = [token.content for token in reference.get_added_tokens_decoder().values()]
        chance = random.Random(SEED)
        with daemon.Daemon(model=folder) as server:
            for case in range(cases):
                text = random_text(chance, added)
                expected = reference.encode(text, add_special_tokens=False).ids
                request = pb.TokenizeRequest(text=text, add_special_tokens=False)
                found = list(server.generation.Tokenize(request, timeout=daemon.PATIENCE_SECONDS).token_ids)
                self.assertEqual(found, expected, f"seed {SEED}, case {case}: {text!r}")
                ids = expected[chance.randrange(3):]  # may begin within a character
                if chance.random() < 0.5:
                    ids = [chance.randrange(reference.get_vocab_size()) for _ in range(chance.randrange(1, 20))]
                for skip in (False, True):
                    request = pb.DetokenizeRequest(token_ids=ids, skip_special_tokens=skip)
                    found = server.generation.Detokenize(request, timeout=daemon.PATIENCE_SECONDS).text
                    self.assertEqual(found, reference.decode(ids, skip_special_tokens=skip), f"case {case}: {ids}")

    def variant(self, change):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory())) / "variant"
        shutil.copytree(daemon.MODEL, folder)
        tokenizer = json.loads((folder / "tokenizer.json").read_text())
        change(tokenizer)
        (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
        return folder

    def test_bundled_tokenizer(self):
        self.compare(daemon.MODEL)

    def test_flags_of_added_tokens(self):
        for flags in (dict(lstrip=True), dict(rstrip=True), dict(lstrip=True, rstrip=True), dict(single_word=True),
                      dict(normalized=True), dict(special=False), dict(single_word=True, lstrip=True, rstrip=True)):
            with self.subTest(**flags):
                self.compare(self.variant(lambda t: [token.update(flags) for token in t["added_tokens"]]))

    def test_tokenizer_of_deepseek_v3(self):
        if not DEEPSEEK.exists():
            self.skipTest(f"{DEEPSEEK} is not there; LATENTD_GOLDENS says where the goldens are")
        home = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        config = json.loads((daemon.MODEL / "config.json").read_text())
        config.update(vocab_size=129280, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
                      num_nextn_predict_layers=0)
        (home / "config.json").write_text(json.dumps(config))
        folder = home / "model"
        arguments = ["random", folder, "--config", home / "config.json", "--dtype", "bf16"]
        subprocess.run([daemon.BIN / "latent-convert", *arguments], check=True, capture_output=True)
        (folder / "tokenizer.json").write_bytes(lzma.decompress((DEEPSEEK / "tokenizer.json.xz").read_bytes()))
        shutil.copy(DEEPSEEK / "tokenizer_config.json", folder)
        self.compare(folder, cases=4 * CASES)

    def test_ignored_merges(self):
        self.compare(self.variant(lambda t: t["model"].update(ignore_merges=True)))


def record(tokenizer, path):
    reference = tokenizers.Tokenizer.from_file(tokenizer)
    added = [token.content for token in reference.get_added_tokens_decoder().values()]
    chance = random.Random(SEED)
    with lzma.open(path, "wt", preset=9, encoding="utf-8", newline="\n") as file:
        for _ in range(CASES):
            text = random_text(chance, added)
            ids = reference.encode(text, add_special_tokens=False).ids
            decoded = reference.decode(ids, skip_special_tokens=False)
            golden = dict(category="random", text=text, ids=ids, decoded=decoded)
            file.write(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--record"]:
        record(*sys.argv[2:])
    else:
        unittest.main()
