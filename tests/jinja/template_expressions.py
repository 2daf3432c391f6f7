"""Generated expressions of Jinja, on values that suit them and on some that do not."""
import random

TEXTS = [
    "", "a", "abc", "Hello World", "  padded \t", "ǆ", "ßß", "straße", "İstanbul", "ΑΣ", "ΌΣΟΣ σ", "ﬁn ﬂag",
    "naïve café", "日本語 文字", "🦊 fox", "e\u0301", "a-b_c d", "x'y\"z", "line1\nline2\r\nline3", "a\u2028b\x0bc",
    "<b>&amp;</b>", "1,2,,3", "42", "-7", " 3.5 ", "1e3", "0x1F", "1_000", "٣", "½", "²", "%s and %d",
    "{} {}", "{0}-{a}", "TitleCase mixedCASE", "they're bill's", "a\tb", "\\n", "aXbXc", "ǅungla", "ᾳ", "ŉ", "\x85x",
    "\u00a0y", "%", "{{}}",
]
ESCAPES = {"\\": "\\\\", "'": "\\'", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\x0b": "\\x0b", "\x85": "\\x85",
           "\u2028": "\\u2028"}
NUMBERS = [
    "0", "1", "2", "3", "7", "-1", "-3", "10", "255", "1000000", "0.0", "0.5", "1.5", "2.5", "-2.5", "3.0", "1e16",
    "1e15", "1.1", "123456.789", "1e-5", "1e-4", "0.1", "1e22", "9007199254740993", "9223372036854775807",
    "9223372036854775808", "100000000000000000000", "true", "false", "1_000", "0x1f", "1e300", "2.675", "-0.0",
]

MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hello, Wörld?"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_0",
                "type": "function",
                "function": {
                    "name": "weather",
                    "arguments": {"city": "Zürich", "days": 3, "z": None, "a": [1, 2.0, True]},
                },
            }
        ],
    },
    {"role": "tool", "content": "21 °C", "tool_call_id": "call_0", "name": "weather"},
    {"role": "user", "content": "<think>no</think> Thanks"},
    {"role": "User", "content": ""},
]
CONTEXTS = [
    {
        "messages": MESSAGES,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "of a city",
                    "parameters": {"type": "object", "properties": {}},
                },
            }
        ],
        "documents": None,
        "n": 3,
        "f": 2.5,
        "s": "Hello World",
        "t": "ǆabc ΑΣ ß",
        "l": [3, 1, 2, 2],
        "w": ["b", "A", "c", "a", "B"],
        "d": {"b": 1, "a": 2, "C": 3, "items": "own"},
        "e": [],
        "o": {},
        "z": None,
        "yes": True,
        "people": [
            {"name": "Bo", "age": 30, "city": {"name": "x"}},
            {"name": "al", "age": 25, "city": {"name": "Y"}},
            {"name": "Cy", "age": 30, "city": {"name": "X"}},
            {"name": "di", "age": 41},
        ],
        "tree": [{"v": 1, "sub": [{"v": 2, "sub": []}, {"v": 3, "sub": [{"v": 4, "sub": []}]}]}, {"v": 5, "sub": []}],
        "pairs": [["a", 1], ["b", 2]],
        "big": 123456789012345678901234567890,
        "deep": {"x": {"y": [1, {"z": "end"}]}},
    },
    {
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": None,
        "documents": None,
        "n": 0,
        "f": -0.25,
        "s": "",
        "l": [],
        "w": ["é", "É", "z", "Z"],
        "d": {},
        "e": [0],
        "o": {"k": [1]},
        "z": "None",
        "yes": False,
        "people": [],
        "tree": [],
        "pairs": [[1, 2, 3]],
        "big": -1,
        "deep": None,
    },
]
NAMES = [
    "messages", "tools", "n", "f", "s", "t", "l", "w", "d", "e", "o", "z", "yes", "people", "tree", "pairs", "big",
    "deep", "missing", "loop", "lipsum", "range", "dict", "cycler", "joiner", "namespace",
]
STR_METHODS0 = [
    "upper", "lower", "title", "capitalize", "swapcase", "casefold", "strip", "lstrip", "rstrip", "split", "rsplit",
    "splitlines", "isalpha", "isdigit", "isalnum", "isspace", "islower", "isupper", "istitle", "isdecimal",
    "isnumeric", "isascii", "isidentifier", "isprintable", "expandtabs", "encode", "format",
]
OTHER_ATTRIBUTES = [
    "real", "imag", "numerator", "denominator", "bit_length", "is_integer", "hex", "as_integer_ratio", "maketrans",
    "translate", "format_map", "__class__", "__len__", "__init__", "_x", "append", "pop", "clear", "update",
    "setdefault", "fromkeys", "copy", "count", "index", "keys", "values", "items", "get", "start", "stop", "step",
    "name", "arguments", "caller", "catch_kwargs", "grouper", "list", "decode", "conjugate", "bit_count", "sort",
    "reverse", "insert", "extend", "remove", "popitem",
]
TESTS0 = [
    "defined", "undefined", "none", "boolean", "true", "false", "integer", "float", "number", "string", "mapping",
    "sequence", "iterable", "callable", "lower", "upper", "odd", "even", "escaped", "filter", "test",
]
TESTS1 = [
    "divisibleby", "eq", "equalto", "ne", "gt", "greaterthan", "ge", "lt", "lessthan", "le", "in", "sameas", "==",
    "!=", "<", ">", "<=", ">=",
]
FILTERS0 = [
    "abs", "capitalize", "count", "length", "default", "dictsort", "e", "escape", "first", "float", "forceescape",
    "int", "items", "join", "last", "list", "lower", "max", "min", "pprint", "reverse", "round", "safe", "sort",
    "string", "sum", "title", "tojson", "trim", "truncate", "unique", "upper", "urlencode", "wordcount", "indent",
    "center", "striptags", "filesizeformat", "wordwrap", "xmlattr", "urlize", "map", "select", "reject", "format",
]
PERCENT_FORMATS = ['%s', '%5s|', '%-6sx', '%r', '%.2s', '%5.1f', '%d', '%05d', '%+d', '%x', '%#x', '%e', '%g',
    '%%', '%c', '%(a)s', '%i%%', '% d', '%*d', '%o', '%10.3e', '%G', '%a', '%s %s', '%F', '%#o', '%.0f', '%5c|']
BRACE_FORMATS = ['{}', '{:>8}|', '{:<6}|', '{:^7}|', '{:*^9}', '{:05}', '{:+}', '{:,}', '{:.2f}', '{:e}', '{:x}',
    '{:b}', '{:o}', '{:%}', '{!r}', '{!s:>6}', '{0}{0}', '{a}', '{0[0]}', '{:d}', '{:_}', '{:#x}', '{:g}', '{:.3}',
    '{:n}', '{:c}', '{:s}', '{!a}', '{:=+6}', '{:010.2f}', '{:<05}', '{:{}}', '{1}', '{:,.1f}', '{:_x}', '{:.0f}',
    '{:G}', '{:F}', '{: }', '{:z}', '{{}}{}']
INDENTS = ['', '2', 'width=3', '4, true', '2, first=true, blank=true', "'> '", 'blank=true']
TRUNCATES = ['5', '3, true', "8, false, ''", "9, true, '..', 0", '255', 'length=4, leeway=0', '2']
ROUNDS = ['', '1', '2', '-1', "0, 'ceil'", "1, 'floor'", "method='common'", '3']
NUMBER_MEMBERS = ['real', 'imag', 'bit_length()', 'is_integer()', 'numerator', 'hex()', 'conjugate()']
DICT_SORTS = ['', 'true', "by='value'", 'reverse=true', "false, 'value'"]
SET_FILTERS = ['upper', 'trim', "replace('a', 'b')", 'length']


class Expressions:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, choices):
        return self.random.choice(choices)

    def chance(self, share):
        return self.random.random() < share

    def quoted(self, text):
        return "'" + "".join(ESCAPES.get(c, c) for c in text) + "'"

    # ------------------------------------------------------------------------------------------------------ values

    def text(self, depth):
        if depth <= 0 or self.chance(0.35):
            return self.pick(
                [self.quoted(self.pick(TEXTS)), self.quoted(self.pick(TEXTS)), "s", "t", "messages[1].content"]
            )
        value = self.text(depth - 1)
        return self.pick(
            [
                lambda: f"{value}.{self.pick(STR_METHODS0)}()",
                lambda: (
                    f"{value}.{self.pick(['strip', 'lstrip', 'rstrip'])}("
                    f"{self.quoted(self.pick(['ab', ' ', 'x', 'éa', '']))})"),
                lambda: f"{value}.replace({self.text(0)}, {self.text(0)}{self.pick(['', ', 1', ', -1', ', count=2'])})",
                lambda: (
                    f"{value}.{self.pick(['center', 'ljust', 'rjust'])}({self.number(0)}"
                    f"{self.pick(['', ', ' + self.quoted('*'), ', ' + self.quoted('日'), ', ' + self.quoted('ab')])}"
                    f")"),
                lambda: f"{value}.zfill({self.pick(['5', '10', '0', '-1'])})",
                lambda: f"{value}.{self.pick(['removeprefix', 'removesuffix'])}({self.text(0)})",
                lambda: f"{value}.expandtabs({self.pick(['', '4', '1'])})",
                lambda: f"{value}[{self.slice()}]",
                lambda: f"{value}[{self.number(0)}]",
                lambda: f"({value} ~ {self.any(depth - 1)})",
                lambda: f"({value} + {self.text(depth - 1)})",
                lambda: f"({value} * {self.pick(['2', '0', '-1', '3'])})",
                lambda: (
                    f"{self.quoted(self.pick(PERCENT_FORMATS))}"
                    f" % "
                    f"{self.percent_values()}"),
                lambda: (
                    f"{self.quoted(self.pick(BRACE_FORMATS))}"
                    f".format("
                    f"{self.brace_values()}"
                    f")"),
                lambda: self.text_filter(depth - 1),
                lambda: (
                    f"{self.quoted(self.pick([', ', '', '-']))}.join("
                    f"{self.pick([self.list(depth - 1), self.quoted('abc'), 'w'])})"),
                lambda: f"({self.text(depth - 1)} if {self.truth(depth - 1)} else {self.text(0)})",
            ]
        )()

    def text_filter(self, depth):
        value = self.any(depth) if self.chance(0.2) else self.text(depth)
        return (
            value
            + "|"
            + self.pick(
                [
                    lambda: self.pick(
                        [
                            "upper", "lower", "title", "capitalize", "trim", "escape", "e", "safe", "string",
                            "forceescape", "urlencode", "wordcount", "reverse", "length", "pprint",
                        ]
                    ),
                    lambda: f"trim({self.quoted(self.pick(['a', ' !', 'H']))})",
                    lambda: f"replace({self.text(0)}, {self.text(0)}{self.pick(['', ', 1', ', count=1', ', none'])})",
                    lambda: (
                        f"indent("
                        f"{self.pick(INDENTS)}"
                        f")"),
                    lambda: (
                        f"truncate("
                        f"{self.pick(TRUNCATES)}"
                        f")"),
                    lambda: f"center({self.pick(['', '9', '20', 'width=11'])})",
                    lambda: f"format({self.pick([self.any(0), self.any(0) + ', ' + self.any(0), 'a=1', ''])})",
                    lambda: f"default({self.any(0)}{self.pick(['', ', true', ', boolean=true'])})",
                    lambda: (
                        f"int("
                        f"{self.pick(['', '5', 'base=16', '0, 2', 'default=none', '-1, 8', 'base=36', 'base=0'])}"
                        f")"),
                    lambda: f"float({self.pick(['', '1', 'default=none'])})",
                    lambda: f"tojson({self.pick(['', 'ensure_ascii=true', 'indent=2'])})",
                    lambda: f"list",
                    lambda: "first",
                    lambda: "last",
                    lambda: f"batch({self.pick(['2', '3', '1, ' + chr(39) + '-' + chr(39), '0'])})|list",
                    lambda: f"wordwrap({self.pick(['5', '10, false'])})",
                    lambda: f"attr({self.quoted(self.pick(STR_METHODS0 + OTHER_ATTRIBUTES))})",
                ]
            )()
        )

    def number(self, depth):
        if depth <= 0 or self.chance(0.3):
            return self.pick([self.pick(NUMBERS), self.pick(NUMBERS), "n", "f", "n"])
        left, right = self.number(depth - 1), self.number(depth - 1)
        return self.pick(
            [
                lambda: f"({left} ** {self.pick(['2', '3', '0', '-1', '0.5', '10', '-2', 'f'])})",
                lambda: f"({left} {self.pick(['+', '-', '*', '/', '//', '%'])} {right})",
                lambda: f"-{left}",
                lambda: f"+{left}",
                lambda: f"(-{left}) ** 2",
                lambda: f"{left}|abs",
                lambda: f"{left}|int",
                lambda: f"{left}|float",
                lambda: (
                    f"{left}|round("
                    f"{self.pick(ROUNDS)}"
                    f")"),
                lambda: f"{self.list(depth - 1)}|length",
                lambda: f"{self.list(depth - 1)}|sum",
                lambda: f"people|sum(attribute='age'{self.pick(['', ', start=5'])})",
                lambda: (
                    f"{self.text(depth - 1)}.{self.pick(['find', 'rfind', 'count', 'index', 'rindex'])}("
                    f"{self.text(0)}{self.pick(['', ', 1', ', -2', ', 0, 3', ', none, -1'])})"),
                lambda: f"{self.list(depth - 1)}.{self.pick(['count', 'index'])}({self.any(0)})",
                lambda: (
                    f"{left}."
                    f"{self.pick(NUMBER_MEMBERS)}"),
                lambda: f"{self.text(depth - 1)}|int",
                lambda: f"{self.text(depth - 1)}|float",
            ]
        )()

    def list(self, depth):
        if depth <= 0 or self.chance(0.3):
            return self.pick(
                [
                    "l", "w", "e", "messages", "people", "pairs", "tree", "[1, 2, 3]", "[]", "('a', 'B')", "(1,)",
                    "()", "range(4)", "range(1, 10, 3)", "range(5, 0, -2)", "[none, 1, 'x']", "[[2, 'b'], [1, 'a']]",
                    "d.items()", "d.keys()", "d.values()", "'abc'.encode()", "[0.5, 1, true]", "'a b c'.split()",
                ]
            )
        value = self.list(depth - 1)
        attribute = self.pick(["name", "age", "city.name", "role", "content", "0", "1", "x", "function.name", "city"])
        return self.pick(
            [
                lambda: f"[{', '.join(self.any(depth - 1) for _ in range(self.random.randrange(4)))}]",
                lambda: f"({', '.join(self.any(depth - 1) for _ in range(self.random.randrange(2, 4)))})",
                lambda: f"{value}[{self.slice()}]",
                lambda: f"({value} + {self.list(depth - 1)})",
                lambda: f"({value} * 2)",
                lambda: f"{value}|list",
                lambda: f"{value}|reverse{self.pick(['', '|list'])}",
                lambda: f"{value}|sort({self.pick(['', 'reverse=true', 'case_sensitive=true', 'true, true'])})",
                lambda: (
                    f"{value}|sort(attribute="
                    f"{self.pick([self.quoted(attribute), chr(39) + 'age,name' + chr(39), '0'])})"),
                lambda: f"{value}|unique({self.pick(['', 'true', 'attribute=' + self.quoted(attribute)])})|list",
                lambda: (
                    f"{value}|map(attribute={self.quoted(attribute)}"
                    f"{self.pick(['', ', default=' + self.any(0)])})|list"),
                lambda: f"{value}|map({self.quoted(self.pick(FILTERS0))})|list",
                lambda: f"{value}|map('default', {self.any(0)})|list",
                lambda: f"{value}|map('replace', 'a', 'x')|list",
                lambda: (
                    f"{value}|{self.pick(['select', 'reject'])}("
                    f"{self.test_arguments()}"
                    f")|list"),
                lambda: (
                    f"{value}|{self.pick(['selectattr', 'rejectattr'])}({self.quoted(attribute)}"
                    f"{self.attribute_test_arguments()}"
                    f")|list"),
                lambda: (
                    f"{value}|groupby({self.quoted(attribute)}"
                    f"{self.pick(['', ', default=' + self.any(0), ', case_sensitive=true'])})"),
                lambda: f"{value}|batch({self.pick(['2', '3, 0', '1'])}){self.pick(['', '|list'])}",
                lambda: f"{value}|slice({self.pick(['2', '3, 0', '1'])}){self.pick(['', '|list'])}",
                lambda: (
                    f"{self.dict(depth - 1)}|dictsort("
                    f"{self.pick(DICT_SORTS)}"
                    f")"),
                lambda: f"{self.dict(depth - 1)}|items{self.pick(['', '|list'])}",
                lambda: f"{self.dict(depth - 1)}.{self.pick(['items()', 'keys()', 'values()'])}",
                lambda: (
                    f"{self.text(depth - 1)}.{self.pick(['split', 'rsplit'])}("
                    f"{self.pick(['', self.text(0), 'none, 1', chr(39) + ',' + chr(39) + ', 1', 'maxsplit=1'])}"
                    f")"),
                lambda: f"{self.text(depth - 1)}.{self.pick(['partition', 'rpartition'])}({self.text(0)})",
                lambda: f"{self.text(depth - 1)}.splitlines({self.pick(['', 'true', 'keepends=true'])})",
                lambda: f"{self.text(depth - 1)}|list",
            ]
        )()

    def dict(self, depth):
        if depth <= 0 or self.chance(0.4):
            return self.pick(
                [
                    "d", "o", "deep", "people[0]", "messages[2]", "{'x': 1, 'Y': 'b'}", "{}",
                    "{1: 'a', true: 2, 2.0: 3}", "dict(a=1, b='x')", "{none: 1, (1, 2): 'p'}", "{10: 1, 9: 2}",
                ]
            )
        return self.pick(
            [
                lambda: "{"
                + ", ".join(
                    f"{self.pick([self.text(0), self.number(0), self.quoted(self.pick('abc'))])}: {self.any(depth - 1)}"
                    for _ in range(self.random.randrange(1, 4))
                )
                + "}",
                lambda: f"dict({self.dict(depth - 1)}, k={self.any(0)})",
                lambda: f"dict({self.list(depth - 1)})",
                lambda: f"{self.dict(depth - 1)}.copy()",
                lambda: f"namespace(a={self.any(depth - 1)})",
            ]
        )()

    def truth(self, depth):
        value = self.any(depth - 1)
        return self.pick(
            [
                lambda: f"{value} is {self.pick(['', 'not '])}{self.pick(TESTS0)}",
                lambda: f"{value} is {self.pick(TESTS1[:12])}({self.any(0)})",
                lambda: f"{value} is divisibleby 3",
                lambda: (
                    f"{value} {self.pick(['==', '!=', '<', '>', '<=', '>=', 'in', 'not in'])} "
                    f"{self.any(depth - 1)}"),
                lambda: (
                    f"{self.number(depth - 1)} {self.pick(['<', '<=', '>', '=='])} {self.number(0)} "
                    f"{self.pick(['<', '!='])} {self.number(0)}"),
                lambda: f"{self.list(0)} {self.pick(['==', '<', '!='])} {self.list(0)}",
                lambda: f"{self.text(depth - 1)} {self.pick(['==', '<', 'in', 'not in'])} {self.text(0)}",
                lambda: f"not {value}",
                lambda: f"({value} and {self.any(0)})",
                lambda: f"({value} or {self.any(0)})",
                lambda: (
                    f"{self.text(depth - 1)}.{self.pick(['startswith', 'endswith'])}("
                    f"{self.pick([self.text(0), '(' + self.text(0) + ', ' + self.text(0) + ')'])}"
                    f"{self.pick(['', ', 1', ', 0, 2'])})"),
                lambda: self.pick(["true", "false", "yes"]),
            ]
        )()

    def any(self, depth):
        if depth <= 0 and self.chance(0.3):
            return self.pick(
                NAMES + ["none", "true", "missing.x", "messages[0]", "messages[9]", "d.a", "d['b']", "o.k", "x"]
            )
        return self.pick(
            [
                lambda: self.text(depth),
                lambda: self.text(depth),
                lambda: self.number(depth),
                lambda: self.list(depth),
                lambda: self.dict(depth),
                lambda: self.truth(max(depth, 1)),
                lambda: self.member(depth),
                lambda: self.odd(depth),
            ]
        )()

    def member(self, depth):
        value = self.pick([self.any(depth - 1), self.list(0), self.dict(0), self.text(0), self.number(0)])
        return self.pick(
            [
                lambda: f"{value}.{self.pick(STR_METHODS0 + OTHER_ATTRIBUTES)}",
                lambda: f"{value}.{self.pick(STR_METHODS0 + OTHER_ATTRIBUTES)}()",
                lambda: f"({value}).{self.pick(OTHER_ATTRIBUTES)}({self.any(0)})",
                lambda: f"{value}[{self.any(0)}]",
                lambda: f"{value}.{self.pick(['a', 'b', 'x', 'name', 'role', 'items', '0', '1'])}",
                lambda: f"{value}.get({self.quoted(self.pick('abx'))}{self.pick(['', ', 5', ', none'])})",
                lambda: f"{value}|first",
                lambda: f"{value}|last",
                lambda: f"{value}|{self.pick(['min', 'max'])}",
                lambda: f"{value}|attr({self.quoted(self.pick(STR_METHODS0 + OTHER_ATTRIBUTES + ['a', 'role']))})",
            ]
        )()

    def odd(self, depth):
        """Any filter on any value."""
        return f"{self.any(depth - 1)}|{self.pick(FILTERS0)}{self.pick(['', '', '', '()', '(1)', '(none)', '(x=1)'])}"

    def slice(self):
        part = lambda: self.pick(["", "", "0", "1", "2", "-1", "-2", "5", "none", "n"])
        return f"{part()}:{part()}" + (f":{self.pick(['', '1', '2', '-1', '-2', '0'])}" if self.chance(0.4) else "")

    def percent_values(self):
        return self.pick([self.any(0), '(' + self.any(0) + ', ' + self.any(0) + ')', self.number(0),
            '(' + self.number(0) + ',)', '{' + "'" + 'a' + "'" + ': 1}'])

    def brace_values(self):
        return self.pick([self.any(0), self.number(0), self.text(0), self.any(0) + ', ' + self.any(0), 'a=1',
            '10, 3', '[1, 2]'])

    def test_arguments(self):
        return self.pick(['', self.quoted(self.pick(TESTS0)), self.quoted(self.pick(TESTS1)) + ', ' + self.any(0)])

    def attribute_test_arguments(self):
        return self.pick(['', ', ' + self.quoted(self.pick(TESTS0)),
            ', ' + self.quoted(self.pick(TESTS1)) + ', ' + self.any(0)])

    def pair_source(self, depth):
        return self.pick([self.dict(0) + '.items()', self.dict(depth) + '|items', self.dict(0) + '|dictsort',
            'pairs', 'people|groupby(' + self.quoted(self.pick(['age', 'city.name', 'name'])) + ')', self.list(0)])

    def filter_of_block(self):
        return self.pick(['upper', 'indent(2)', 'trim',
            'replace(' + self.quoted('a') + ', ' + self.quoted('b') + ')', 'title|length', 'tojson'])

    def generator_filter(self):
        return self.pick(['map(' + self.quoted('string') + ')', 'select', 'batch(2)', 'unique', 'reverse', 'items',
            'slice(2)'])
