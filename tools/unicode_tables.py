#!/usr/bin/env python3
"""Writes src/llm/unicode_tables.inc: the Unicode properties that BERT tokenization needs.

The reference for token-exactness is the `tokenizers` package, whose Rust crates are of different
Unicode versions (its NFD is of 2016, its lower case of today). So nothing is taken from a Unicode
database: each property is read off the behaviour of the package itself, over every code point.

    pip install 'tokenizers==0.23.*'
    tools/unicode_tables.py src/llm/unicode_tables.inc
"""

import sys
import unicodedata

import tokenizers
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HANGUL = range(0xAC00, 0xD7A4)
LEAF, MIDDLE = 16, 32  # entries per block of the three-stage table; these give the smallest
BATCH = 50000

# The bits of a class; src/llm/unicode.h has the same.
SPACE, REMOVED, PUNCTUATION, MARK, NONSTARTER, MAPPED, WORD, CHINESE = (1 << i for i in range(8))


def bert(clean=False, chinese=False, strip=False, lower=False):
    return normalizers.BertNormalizer(
        clean_text=clean, handle_chinese_chars=chinese, strip_accents=strip, lowercase=lower
    ).normalize_str


def code_points_where(holds):
    return {c for c in CODE_POINTS if holds(chr(c))}


def nonstarters(nfd, decomposition):
    """Those with a combining class: canonical ordering moves them before or behind another one.

    U+0334 has the lowest class (1), U+0345 the highest (240)."""
    low, high = "\u0334", "\u0345"

    def moves(char):
        if decomposition[ord(char)] != char:
            return False
        before, behind = "a" + char + low, "a" + high + char
        return nfd(before) != before or nfd(behind) != behind

    return code_points_where(moves)


def word_characters():
    r"""The class \w of the regular expressions behind AddedToken(single_word=True)."""
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.add_tokens([AddedToken("<m>", single_word=True, normalized=False)])
    found = set()
    for at in range(0, len(CODE_POINTS), BATCH):
        batch = CODE_POINTS[at : at + BATCH]
        encodings = tokenizer.encode_batch([chr(c) + "<m>" for c in batch])
        found |= {c for c, e in zip(batch, encodings) if len(e.ids) == 1}
    return found


def check_combining_classes(nfd, kept):
    """The values come from Python's database; only their order matters, and is checked here."""
    for a in kept:
        for b in kept:
            text = "a" + chr(a) + chr(b)
            swaps = unicodedata.combining(chr(a)) > unicodedata.combining(chr(b))
            assert nfd(text) == ("a" + chr(b) + chr(a) if swaps else text), (a, b)


class Properties:
    def __init__(self):
        nfd = normalizers.NFD().normalize_str
        strip, lower = bert(strip=True), bert(lower=True)
        split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
        clean, chinese = bert(clean=True), bert(chinese=True)

        self.decomposition = {c: nfd(chr(c)) for c in CODE_POINTS}
        self.stripped = {c: strip(chr(c)) for c in CODE_POINTS}
        self.lower = {c: lower(chr(c)) for c in CODE_POINTS}
        self.removed = code_points_where(lambda c: clean(c) == "")
        self.chinese = code_points_where(lambda c: chinese(c) != c)
        pieces = {c: len(split("a" + chr(c) + "b")) for c in CODE_POINTS}
        self.space = {c for c in CODE_POINTS if pieces[c] == 2}
        self.punctuation = {c for c in CODE_POINTS if pieces[c] == 3}
        self.word = word_characters()
        self.nonstarter = nonstarters(nfd, self.decomposition)
        self.mark = {c for c in CODE_POINTS if self.stripped[c] == ""}
        # What decomposes to marks only acts as its parts do: it stops a reordering when one of
        # them is a starter.
        for c in self.mark:
            if all(ord(part) in self.nonstarter for part in self.decomposition[c]):
                self.nonstarter.add(c)
        self.kept_nonstarters = sorted(self.nonstarter - self.mark)
        check_combining_classes(nfd, self.kept_nonstarters)
        self.check_decompositions()

    def check_decompositions(self):
        """A decomposition may be replaced by what stripping keeps of it: that starts with a
        starter, and no stripped starter follows a kept nonstarter. And no code point becomes more
        characters than it has bytes, from which the bound on the number of tokens follows."""
        stripped_starters = self.mark - self.nonstarter
        for c in CODE_POINTS:
            kept = self.stripped[c]
            if kept not in ("", chr(c)):
                assert ord(kept[0]) not in self.nonstarter, c
                pending = False
                for part in map(ord, self.decomposition[c]):
                    assert not (pending and part in stripped_starters), c
                    kept_here = part in self.kept_nonstarters
                    pending = kept_here or pending and part in self.nonstarter
            lowered = "".join(self.lower[ord(p)] for p in kept)
            assert max(len(lowered), len(self.lower[c])) <= len(chr(c).encode()), c

    def class_of(self, c):
        mapped = c not in self.mark and self.stripped[c] != chr(c) or self.lower[c] != chr(c)
        sets = (self.space, self.removed, self.punctuation, self.mark, self.nonstarter)
        bits = sum(1 << i for i, members in enumerate(sets) if c in members)
        return bits | MAPPED * mapped | WORD * (c in self.word) | CHINESE * (c in self.chinese)


def stages(classes):
    """Classes of all code points -> root, middle and leaf arrays, equal blocks stored once."""

    def blocks(values, size):
        index = {}
        order = [
            index.setdefault(tuple(values[at : at + size]), len(index))
            for at in range(0, len(values), size)
        ]
        return order, [value for block in index for value in block]

    order, leaf = blocks(classes, LEAF)
    root, middle = blocks(order, MIDDLE)
    assert max(root) < 256 and max(middle) < 65536
    return root, middle, leaf


def lower_ranges(lower):
    """(first, last, stride, delta) of runs of single-character lower-case mappings."""
    pairs = [(c, ord(l) - c) for c, l in sorted(lower.items()) if len(l) == 1 and ord(l) != c]
    runs = []
    for c, delta in pairs:
        if runs:
            first, last, stride, run_delta = runs[-1]
            step = c - last
            if run_delta == delta and (step == stride or first == last and step <= 2):
                runs[-1] = (first, c, step, delta)
                continue
        runs.append((c, c, 1, delta))
    return [(first, last, stride, delta % 2**32) for first, last, stride, delta in runs]


def class_ranges(members):
    """(first, last, combining class) of runs with one class."""
    runs = []
    for c in members:
        value = unicodedata.combining(chr(c))
        if runs and runs[-1][1] == c - 1 and runs[-1][2] == value:
            runs[-1] = (runs[-1][0], c, value)
        else:
            runs.append((c, c, value))
    return runs


def number(value):
    return f"{value}u" if value >= 2**31 else str(value)


def array(declaration, values):
    lines = [f"static const {declaration} = {{"]
    line = "   "
    for value in values:
        text = f" {value if isinstance(value, str) else number(value)},"
        if len(line) + len(text) > 100:
            lines.append(line)
            line = "   "
        line += text
    return "\n".join(lines + [line, "};"])


def rows(declaration, values):
    return array(declaration, ["{" + ", ".join(map(number, row)) + "}" for row in values])


def render(p):
    root, middle, leaf = stages([p.class_of(c) if c in p.lower else 0 for c in range(0x110000)])
    kept = {
        c: [ord(k) for k in p.stripped[c]]
        for c in CODE_POINTS
        if p.stripped[c] != chr(c) and c not in p.mark and c not in HANGUL
    }
    single = {c: k[0] for c, k in kept.items() if len(k) == 1}
    small = [c << 16 | k for c, k in sorted(single.items()) if max(c, k) < 0x10000]
    large = [(c, k) for c, k in sorted(single.items()) if max(c, k) >= 0x10000]
    several = [[c, *k, *[0] * (3 - len(k))] for c, k in sorted(kept.items()) if len(k) > 1]
    assert all(len(row) == 4 for row in several)
    double = [(c, *map(ord, l)) for c, l in sorted(p.lower.items()) if len(l) > 1]
    assert all(len(row) == 3 for row in double)
    lower, combining = lower_ranges(p.lower), class_ranges(p.kept_nonstarters)
    size = (
        len(root)
        + 2 * len(middle)
        + len(leaf)
        + 4 * len(small)
        + 8 * len(large)
        + 16 * (len(several) + len(lower))
        + 12 * (len(double) + len(combining))
    )
    return "\n\n".join(
        [
            "/* unicode_tables.inc - made by tools/unicode_tables.py from what the package "
            "tokenizers\n"
            f" * {tokenizers.__version__} does; {size} bytes compiled. Do not edit. */",
            "/* clang-format off */",
            f"enum {{ LEAF = {LEAF}, MIDDLE = {MIDDLE} }};",
            array(f"uint8_t class_root[{len(root)}]", root),
            array(f"uint16_t class_middle[{len(middle)}]", middle),
            array(f"uint8_t class_leaf[{len(leaf)}]", leaf),
            "/* NFD without its nonspacing marks where one character is left: code point << 16 |\n"
            " * that one where both have 16 bits, else the two. */",
            array(f"uint32_t base_small[{len(small)}]", small),
            rows(f"uint32_t base_large[{len(large)}][2]", large),
            "/* Where two or three are left. */",
            rows(f"uint32_t base_several[{len(several)}][4]", several),
            "/* Lower case: first, last, stride, what to add modulo 2^32. */",
            rows(f"uint32_t lower_ranges[{len(lower)}][4]", lower),
            "/* Lower case of two characters. */",
            rows(f"uint32_t lower_double[{len(double)}][3]", double),
            "/* Combining classes of what stripping keeps: first, last, class. */",
            rows(f"uint32_t combining_ranges[{len(combining)}][3]", combining),
            "/* clang-format on */\n",
        ]
    )


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    text = render(Properties())
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write(text)


if __name__ == "__main__":
    main()
