"""Writes a whole module as C++: variables, functions, kernels and their registration."""
import math

from forms import Forms, label_of
from opcodes import refusal
from operands import C_TYPES, Operands, identifier, literal
import ptx_text

PREFACE = """// Generated from PTX by tests/cuda_emulator/translator. Lines are those of the .cu file.
{shadow}#include "tests/cuda_emulator/ptx.h"

namespace cuda_emulator::ptx {{
namespace {{
"""


def bytes_of(variable):
    return ptx_text.BYTES[variable.type] * variable.count


def aligned(offset, alignment):
    return (offset + alignment - 1) // alignment * alignment


class SharedLayout:
    """Offsets of static shared variables."""

    def __init__(self, start=0):
        self.bytes = start
        self.expressions = {}

    def add(self, variable):
        self.bytes = aligned(self.bytes, variable.align)
        self.expressions[variable.name] = f"(Address(SharedBase()) + {self.bytes}ull)"
        self.bytes += bytes_of(variable)


class ModuleWriter:
    """`problems` has a line for everything that isn't translated; then the text isn't complete."""

    def __init__(self, module, table, is_shadow):
        self.module_ = module
        self.table_ = table
        self.is_shadow_ = is_shadow
        self.symbols_ = {}
        self.kernels_ = []
        self.refused_ = {}  # message -> [place, count]
        self.defined_ = {f.name for f in module.functions if f.body is not None}
        self.shared_ = SharedLayout()

    @property
    def problems(self):
        return [f"{place}: {message}" + (f" ({count} uses)" if count > 1 else "")
                for message, (place, count) in self.refused_.items()]

    def refuse(self, place, message):
        self.refused_.setdefault(message, [place, 0])[1] += 1

    def text(self):
        parts = [PREFACE.format(shadow="#define CUDA_EMULATOR_SHADOW 1\n" if self.is_shadow_ else "")]
        parts += [self.variable(v) for v in self.module_.variables]
        bodies = [f for f in self.module_.functions if f.body is not None]
        # Functions first: their shared variables lie below those of each kernel.
        for function in sorted(bodies, key=lambda f: f.is_entry):
            if not function.is_entry:
                for statement in function.body:
                    if isinstance(statement, ptx_text.Variable) and statement.space == "shared":
                        self.shared_.add(statement)
        parts += [self.head(f) + ";\n" for f in bodies if not f.is_entry]
        parts += [self.function(f) for f in sorted(bodies, key=lambda f: f.is_entry)]
        return "".join(parts) + self.registration()

    def variable(self, variable):
        name = identifier(variable.name)
        if variable.space == "shared":
            if variable.count == 0:
                self.symbols_[variable.name] = "Address(DynamicShared())"
            else:
                self.shared_.add(variable)
            return ""
        self.symbols_[variable.name] = f"Address({name})"
        values = [literal(text, variable.type) for text in variable.initial]
        if None in values:
            self.refuse(variable.name, f"an initial value of {variable.name} that isn't a number")
        values = [value or "0" for value in values]
        return (f"alignas({max(16, variable.align)}) {C_TYPES[variable.type]} {name}[{max(variable.count, 1)}] = "
                f"{{{', '.join(values)}}};\n")

    @staticmethod
    def head(function):
        names = function.results + function.parameters
        return (f"void Function_{function.name.replace('$', '_')}"
                f"({', '.join(f'[[maybe_unused]] std::byte* {identifier(v.name)}' for v in names)})")

    def function(self, function):
        names = Operands()
        names.symbols.update(self.symbols_)
        layout = SharedLayout(self.shared_.bytes if self.uses_common_shared(function) else 0)
        names.symbols.update(self.shared_.expressions)
        parameters = []
        if function.is_entry:
            offset = 0
            for parameter in function.parameters:
                offset = aligned(offset, parameter.align)
                parameters.append((offset, bytes_of(parameter)))
                names.parameters[parameter.name] = f"parameters + {offset}"
                names.symbols[parameter.name] = f"Address(parameters + {offset})"
                offset += bytes_of(parameter)
        else:
            names.parameters.update({v.name: identifier(v.name) for v in function.results + function.parameters})
        declarations = self.declarations(function, names, layout)
        branches = {s.name: s.targets for s in function.body if isinstance(s, ptx_text.BranchTargets)}
        forms = Forms(names, branches, self.defined_, function.is_entry)
        code = self.statements(function, forms)
        if function.is_entry:
            self.kernels_.append((function, parameters, layout.bytes))
            head = f"void Kernel_{function.name.replace('$', '_')}([[maybe_unused]] const std::byte* parameters)"
        else:
            head = self.head(function)
        sites = f"  static const char sites[{forms.num_sites}] = {{}};\n" if forms.num_sites else ""
        return f"\n{head} {{\n{sites}{declarations}{code}\n}}\n"

    def uses_common_shared(self, function):
        """Whether the kernel names a shared variable of the module or calls anything."""
        for statement in function.body:
            if not isinstance(statement, ptx_text.Instruction):
                continue
            if statement.opcode.startswith("call"):
                return True
            if any(name in operand for operand in statement.operands for name in self.shared_.expressions):
                return True
        return False

    def declarations(self, function, names, layout):
        text = []
        for statement in function.body:
            if isinstance(statement, ptx_text.Registers):
                names.registers.update({name: statement.type for name in statement.names})
                c_type = C_TYPES[statement.type]
                text += [f"  {c_type} {identifier(n)} = Poison<{c_type}>();" for n in statement.names]
            elif isinstance(statement, ptx_text.Variable) and statement.space == "shared":
                if function.is_entry:
                    layout.add(statement)
            elif isinstance(statement, ptx_text.Variable):
                name = identifier(statement.name)
                text.append(f"  alignas({max(16, statement.align)}) std::byte {name}[{max(bytes_of(statement), 1)}]; "
                            f"std::memset({name}, 0xff, sizeof {name});")
                if statement.space == "param":
                    names.parameters[statement.name] = name
                else:
                    names.symbols[statement.name] = f"Address({name})"
        names.symbols.update(layout.expressions)
        return "\n".join(text) + "\n"

    def statements(self, function, forms):
        """One line of text per line of the .cu file, so that the compiler's line is the file's."""
        lines, place = [], None
        for statement in function.body:
            if isinstance(statement, ptx_text.Label):
                text = f"{label_of(statement.name)}:;"
            elif isinstance(statement, ptx_text.Instruction):
                if statement.place != place:
                    place = statement.place
                    lines.append(f'\n#line {place.line} "{place.file}"\n ')
                text = self.instruction(statement, forms)
            else:
                continue
            lines.append(" " + text)
        return "".join(lines)

    def instruction(self, instruction, forms):
        reason = refusal(instruction.opcode, self.table_)
        if reason:
            self.refuse(instruction.place, f"{instruction.opcode}: {reason}")
            return ""
        try:
            text = forms.write(self.table_[instruction.opcode], instruction)
            if instruction.guard:
                return f"if ({forms.read_all([instruction.guard], ['pred'])[0]}) {{ {text} }}"
            return text
        except ptx_text.PtxError as error:
            self.refuse(instruction.place, f"{instruction.opcode}: {error}")
            return ""

    def registration(self):
        kernels = []
        for function, parameters, shared_bytes in self.kernels_:
            limit = function.attributes.get("maxntid") or function.attributes.get("reqntid") or [0]
            total = parameters[-1][0] + parameters[-1][1] if parameters else 0
            offsets = ", ".join(f"{{{offset}, {size}}}" for offset, size in parameters)
            run = f"&Kernel_{function.name.replace('$', '_')}"
            kernels.append(f'    Kernel{{"{function.name}", {run}, {{{offsets}}}, {total}, {shared_bytes}, '
                           f"{math.prod(limit)}, {'true' if self.is_shadow_ else 'false'}}},\n")
        variables = [f'    Variable{{"{v.name}", {identifier(v.name)}, sizeof {identifier(v.name)}, '
                     f"{'true' if v.space == 'const' else 'false'}}},\n"
                     for v in self.module_.variables if v.space != "shared"]
        return ('\n#line 1 "registration"\n'
                f"const Module kModule(\n  {{\n{''.join(kernels)}  }},\n  {{\n{''.join(variables)}  }});\n\n"
                "}  // namespace\n}  // namespace cuda_emulator::ptx\n")
