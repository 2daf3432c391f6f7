"""Reads the text of a PTX module into functions, variables and statements. Knows nothing of opcodes."""
import dataclasses
import re


class PtxError(Exception):
    """The text is outside what the translator reads; the message says what and where."""


@dataclasses.dataclass(frozen=True)
class Place:
    """A line of the source that the kernel was compiled from."""
    file: str
    line: int

    def __str__(self):
        return f"{self.file}:{self.line}"


@dataclasses.dataclass
class Variable:
    space: str        # global, const, shared, local, param
    type: str         # b8, u32 …
    name: str
    align: int
    count: int        # elements; 0: an extern array of unknown size
    is_array: bool
    initial: list     # of literals, or empty


@dataclasses.dataclass
class Registers:
    type: str
    names: list


@dataclasses.dataclass
class Label:
    name: str


@dataclasses.dataclass
class BranchTargets:
    name: str
    targets: list


@dataclasses.dataclass
class Instruction:
    guard: str        # "", "%p1" or "!%p1"
    opcode: str       # complete, with all modifiers
    operands: list
    place: Place


@dataclasses.dataclass
class Function:
    is_entry: bool
    name: str
    parameters: list  # of Variable
    results: list     # of Variable
    attributes: dict  # maxntid -> [256, 1, 1]
    body: list        # statements in order; None: only declared


@dataclasses.dataclass
class Module:
    functions: list
    variables: list


BYTES = {"pred": 1, "b8": 1, "u8": 1, "s8": 1, "b16": 2, "u16": 2, "s16": 2, "f16": 2, "bf16": 2, "b32": 4, "u32": 4,
         "s32": 4, "f32": 4, "f16x2": 4, "bf16x2": 4, "b64": 8, "u64": 8, "s64": 8, "f64": 8}
VARIABLE = re.compile(
    r"\.(?P<space>global|const|shared|local|param|reg)\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+"
    r"(?:\.ptr\s+(?:\.(?:global|const|shared|local)\s+)?(?:\.align\s+\d+\s+)?)?"
    r"(?P<name>[\w$%]+)\s*(?P<array>\[(?P<count>\d*)\])?\s*(?:=\s*(?P<initial>.*))?$", re.S)
LINKAGE = re.compile(r"\.(visible|weak|extern|common)\b\s*")
ATTRIBUTE = re.compile(r"\.(\w+)((?:\s+\d+\s*(?:,\s*\d+\s*)*)?)")
LOCATION = re.compile(r"\.loc\s+(\d+)\s+(\d+)\s+(\d+)(?:.*?inlined_at\s+(\d+)\s+(\d+)\s+(\d+))?")


def without_comments(text):
    """The same text with comments blanked; strings stay."""
    pattern = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.S)
    return pattern.sub(lambda m: m.group() if m.group()[0] == '"' else re.sub(r"[^\n]", " ", m.group()), text)


def split_operands(text):
    """Splits at the commas outside brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        depth += (c in "{[(") - (c in "}])")
        if c == "," and depth == 0:
            parts.append(text[start:i].strip())
            start = i + 1
    parts.append(text[start:].strip())
    return [part for part in parts if part]


def parse_variable(text):
    match = VARIABLE.match(text.strip())
    if not match or match["type"] not in BYTES:
        raise PtxError(f"declaration not understood: {' '.join(text.split())[:100]}")
    initial = match["initial"]
    values = split_operands(initial.strip().strip("{}")) if initial else []
    return Variable(match["space"], match["type"], match["name"], int(match["align"] or BYTES[match["type"]]),
                    int(match["count"] or 0) if match["array"] else 1, match["array"] is not None, values)


class Lines:
    """Follows the .loc directives of one function: names the .cu line even for code inlined from a header."""

    def __init__(self, files):
        self.files_ = files
        self.parents_ = {}
        self.place = Place("unknown", 1)

    def read(self, text):
        match = LOCATION.match(text)
        if not match:
            raise PtxError(f"line directive not understood: {text}")
        numbers = [int(n) for n in match.groups() if n is not None]
        here, parent = tuple(numbers[:3]), tuple(numbers[3:])
        self.parents_[here] = parent
        if here[1] == 0:
            return
        chain = [here]
        while self.parents_.get(chain[-1]) and self.parents_[chain[-1]] not in chain:
            chain.append(self.parents_[chain[-1]])
        kernel_lines = [at for at in chain if self.files_.get(at[0], "").endswith(".cu")]
        chosen = (kernel_lines or chain)[0]
        self.place = Place(self.files_.get(chosen[0], "unknown"), chosen[1])


class Reader:
    """One pass over the text."""

    def __init__(self, text):
        self.text_ = without_comments(text)
        self.at_ = 0
        self.files_ = {int(n): name for n, name in re.findall(r'\.file\s+(\d+)\s+"([^"]+)"', self.text_)}

    def module(self):
        module = Module([], [])
        while self.skip_space():
            if self.take(r"\.(version|target|address_size|file)\b[^\n]*"):
                continue
            if self.take(r"\.section\s+[^{]*\{[^}]*\}"):
                continue
            if self.take(r"\.pragma\b[^;]*;"):
                continue
            external = False
            while match := self.take(LINKAGE.pattern):
                external = external or match[1] == "extern"
            if match := self.take(r"\.(entry|func)\b"):
                module.functions.append(self.function(match[1] == "entry"))
            elif match := self.take(r"(\.(?:global|const|shared)\b[^;]*);"):
                module.variables.append(parse_variable(match[1]))
                if external and module.variables[-1].space != "shared":
                    raise PtxError(f"extern variable {module.variables[-1].name}: not linked by the emulator")
            else:
                raise PtxError(f"not understood: {self.text_[self.at_:self.at_ + 80]!r}")
        return module

    def skip_space(self):
        self.take(r"\s+")
        return self.at_ < len(self.text_)

    def take(self, pattern):
        match = re.compile(pattern).match(self.text_, self.at_)
        if match:
            self.at_ = match.end()
        return match

    def expect(self, pattern, what):
        match = self.take(pattern)
        if not match:
            raise PtxError(f"expected {what} before {self.text_[self.at_:self.at_ + 60]!r}")
        return match

    def function(self, is_entry):
        results = self.take(r"\s*\(([^()]*)\)")
        name = self.expect(r"\s*([\w$]+)\s*", "a function's name")[1]
        parameters = self.take(r"\(([^()]*)\)")
        attributes = self.expect(r"([^;{]*)", "attributes")[1]
        function = Function(is_entry, name,
                            [parse_variable(p) for p in split_operands(parameters[1] if parameters else "")],
                            [parse_variable(p) for p in split_operands(results[1] if results else "")],
                            {key: [int(n) for n in re.findall(r"\d+", numbers)]
                             for key, numbers in ATTRIBUTE.findall(attributes)}, None)
        if self.expect(r"[;{]", "a body")[0] == "{":
            function.body = self.body()
        return function

    def body(self):
        """Statements up to the closing brace. Names declared in an inner scope get the scope's number."""
        statements, lines, scopes, count = [], Lines(self.files_), [{}], 0
        while True:
            if not self.skip_space():
                raise PtxError("the text ends inside a function")
            if self.take(r"\{"):
                count += 1
                scopes.append({"": f"_s{count}"} | self.labels_of_scope(f"_s{count}"))
            elif self.take(r"\}"):
                scopes.pop()
                if not scopes:
                    return statements
            elif match := self.take(r"\.loc\b[^\n]*"):
                lines.read(match[0])
            elif self.take(r'\.file\b[^\n]*|\.pragma\s+"[^"]*"\s*;'):
                continue
            elif match := self.take(r"([\w$%]+)\s*:(?!:)\s*(?:\.branchtargets\s+([^;]*);)?"):
                name = renamed(match[1], scopes)
                statements.append(BranchTargets(name, [renamed(t, scopes) for t in split_operands(match[2])])
                                  if match[2] else Label(name))
            else:
                text = self.expect(r"([^;]*);", "a statement")[1].strip()
                statement = self.statement(text, scopes, lines.place)
                if statement:
                    statements.append(statement)

    def labels_of_scope(self, suffix):
        """Labels are known in their scope before they are met."""
        depth, end = 1, self.at_
        while depth and end < len(self.text_):
            depth += (self.text_[end] == "{") - (self.text_[end] == "}")
            end += 1
        names = re.findall(r"(?:^|[;{}\s])([\w$%]+)\s*:(?!:)", self.text_[self.at_:end])
        return {name: name + suffix for name in names}

    def statement(self, text, scopes, place):
        if not text:
            return None
        if text.startswith(".reg"):
            kind, names = re.match(r"\.reg\s+\.(\w+)\s+(.*)$", text, re.S).groups()
            return Registers(kind, [declare(n, scopes) for n in register_names(names)])
        if text.startswith("."):
            variable = parse_variable(text)
            variable.name = declare(variable.name, scopes)
            return variable
        guard = re.match(r"@(!?[\w$%]+)\s+", text)
        rest = text[guard.end():] if guard else text
        opcode, operands = re.match(r"(\S+)\s*(.*)$", rest, re.S).groups()
        return Instruction(renamed(guard[1], scopes) if guard else "", opcode,
                           [renamed(o, scopes) for o in split_operands(operands)], place)


def register_names(text):
    names = []
    for part in split_operands(text):
        counted = re.fullmatch(r"([\w$%]+)<(\d+)>", part)
        names += [f"{counted[1]}{i}" for i in range(int(counted[2]))] if counted else [part]
    return names


def declare(name, scopes):
    unique = name + scopes[-1].get("", "")
    scopes[-1][name] = unique
    return unique


def renamed(operand, scopes):
    if len(scopes) == 1:
        return operand

    def unique(match):
        for scope in reversed(scopes):
            if match[0] in scope:
                return scope[match[0]]
        return match[0]
    return re.sub(r"[%$A-Za-z_][\w$%]*(?:\.[xyz])?", unique, operand)


def read_module(text):
    return Reader(text).module()
