"""Arithmetic on named quantities, as kernels/cuda/expected.toml writes it: numbers, names, + - * / // %, comparison,
`a if b else c`, min, max, ceil and round_up(value, unit)."""
import ast
import math
import operator

OPERATORS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
             ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod, ast.USub: operator.neg,
             ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge, ast.Eq: operator.eq}
FUNCTIONS = {"min": min, "max": max, "ceil": math.ceil,
             "round_up": lambda value, unit: math.ceil(value / unit) * unit}


def evaluate(formula, quantities):
    """The formula's value; what is not arithmetic, or not named, is refused."""

    def value(node):
        match node:
            case ast.Constant(value=int() | float() as number):
                return number
            case ast.Name(id=name) if name in quantities:
                return quantities[name]
            case ast.Name(id=name):
                raise ValueError(f"`{formula}`: no quantity {name}; there are {', '.join(sorted(quantities))}")
            case ast.BinOp() if type(node.op) in OPERATORS:
                return OPERATORS[type(node.op)](value(node.left), value(node.right))
            case ast.UnaryOp() if type(node.op) in OPERATORS:
                return OPERATORS[type(node.op)](value(node.operand))
            case ast.Compare(ops=[comparison], comparators=[right]) if type(comparison) in OPERATORS:
                return OPERATORS[type(comparison)](value(node.left), value(right))
            case ast.IfExp():
                return value(node.body) if value(node.test) else value(node.orelse)
            case ast.Call(func=ast.Name(id=name), keywords=[]) if name in FUNCTIONS:
                return FUNCTIONS[name](*map(value, node.args))
        raise ValueError(f"`{formula}`: expected arithmetic, found {ast.unparse(node)}")

    if isinstance(formula, (int, float)):
        return formula
    return value(ast.parse(formula, mode="eval").body)
