"""Hard texts, on which faster ways of tokenizing are compared with the tokenizer itself."""

from __future__ import annotations

import random
from functools import cache

SAMPLES = (
    "",
    " ",
    "\n",
    "The quick brown fox, born in 1987, doesn't jump; it'll fly!",
    "  two spaces  between  words   and at the end  ",
    "tabs\tand\r\nline ends\n\n\nand empty lines \n \n with spaces\n",
    "“Quotes”, (brackets) [more] {more} — dashes – and… ellipses... 3.14 1,000,000 10% $5 #tag @name a_b c-d e/f",
    "I'M WE'LL they've he'd 'tis rock'n'roll ''double'' it’s",
    "def f(x):\n    return {'a': x ** 2}  # comment\n\tif x == 1:\n\t\tpass",
    "https://example.org/path?query=1&other=two#part user@example.org",
    "北京是中华人民共和国的首都。它位于华北平原，人口超过2000万！你去过吗？“去过。”他说：《红楼梦》……",
    "2023年5月，张三（男，35岁）在上海交通大学获得博士学位；ABC公司的CEO李四说“OK”。",
    "日本語のテキスト、カタカナとひらがな。한국어 문장도 있습니다. русский текст, ελληνικά, עברית, العربية, हिन्दी",
    "e\u0301 cafe\u0301 na\u00efve A\u030a \u1e9b\u0323 ﬁ ½ ² ① Ⅷ",
    "👍🏽 👨‍👩‍👧‍👦 🇨🇳 ☃️ \U00020000\U0002a6d6 𝒳 𝟘",
    "\u00a0nbsp\u3000ideographic\u2009thin\u200bzero\u202fnarrow\u2028line\ufeffbom\u0085next\x1cfile",
    "<s> </s> <unk> <|endoftext|> <|im_start|>user [INST] <<SYS>> <0x0A> ▁ ▁▁a",
    "，开头的逗号。”“连着的引号”。。。！！？？，，中文  空格 中文\n中文\n\n中文 English中文English 1中2文3",
    "A.B.C. e.g. i.e. U.S.A. Mr. Smith vs. Dr. No. v1.2.3-beta",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 的的的的的的的的的的的的 \x00\x01\x7f",
)
_ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz" * 3 + "ABCDEFGHIJ" + " " * 30 + ".,;:!?'\"-()\n" * 2 + "0123456789",
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里" * 2
    + "，。、；：？！“”‘’（）《》…—" * 2
    + " \n1aA",
    "aA1 \n\t.,'的。，あアーㅎ한éßЖא\u0301\u200d👍\u3000\u00a0½\r_<|>▁",
)


@cache
def texts() -> list[str]:
    """The samples, texts drawn from several alphabets, and every character of the planes that are in use, in turn."""
    chance = random.Random(20261124)
    made = list(SAMPLES)
    for alphabet in _ALPHABETS:
        made += ["".join(chance.choices(alphabet, k=chance.randint(1, 120))) for _ in range(150)]
    codes = [code for code in range(0x20, 0x20000) if not 0xD800 <= code < 0xE000]
    for _ in range(150):
        some = [chr(chance.choice(codes)) for _ in range(10)] + chance.choices("a的。 ，\n1", k=15)
        chance.shuffle(some)
        made.append("".join(some))
    han = [chr(code) for code in range(0x4E00, 0x9FA6)]
    chance.shuffle(han)
    made += ["".join(han[start : start + 300]) for start in range(0, len(han), 300)]
    return made
