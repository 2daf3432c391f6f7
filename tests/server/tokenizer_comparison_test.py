"""Random texts and ids through the daemon's tokenizer and the tokenizers package: the bundled one, and variants of it
whose added tokens have other flags. Skipped where the package is missing; tests/data/tokenizer holds values that it
gave."""
import json
import pathlib
import random
import shutil
import tempfile
import unittest

import daemon
from daemon import pb

try:
    import tokenizers
except ImportError:
    tokenizers = None

SEED, CASES = 20261130, 1500
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
    def compare(self, folder):
        reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        added = [token.content for token in reference.get_added_tokens_decoder().values()]
        chance = random.Random(SEED)
        with daemon.Daemon(model=folder) as server:
            for case in range(CASES):
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

    def test_ignored_merges(self):
        self.compare(self.variant(lambda t: t["model"].update(ignore_merges=True)))


if __name__ == "__main__":
    unittest.main()
