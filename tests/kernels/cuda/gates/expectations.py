"""kernels/cuda/expected.toml: what is expected of each kernel, and what a step of the model launches."""
import dataclasses
import math
import pathlib
import re
import tomllib

import formulas

KERNEL_KEYS = {"source", "instances", "threads", "dynamic_shared", "most_dynamic_shared", "dynamic_shared_in",
               "most_dynamic_shared_in", "require", "require_in", "forbid", "with", "bytes", "flops", "unit"}
INSTANCE_KEYS = ("require_in", "dynamic_shared_in", "most_dynamic_shared_in")
LAUNCH_KEYS = {"verb", "kernel", "per", "times", "with"}
UNITS = {"tensor": "tensor_flops", "fp32": "fp32_flops"}


@dataclasses.dataclass(frozen=True)
class Work:
    """The work of all kernels of a launch in one step."""
    launches: int
    bytes: float
    flops: float
    bytes_seconds: float
    flops_seconds: float

    @property
    def seconds(self):
        return max(self.bytes_seconds, self.flops_seconds)

    @property
    def bound(self):
        return "bytes" if self.bytes_seconds >= self.flops_seconds else "FLOPs"


def read_constant(name, path):
    """The value that a source gives to a named integer."""
    match = re.search(rf"\bconstexpr int {name} = (\d+)[;,]", path.read_text())
    if match is None:
        raise ValueError(f"constants.{name}: {path.name} has no `constexpr int {name} = NUMBER`")
    return int(match[1])


def positions(scenario):
    """The position of every token: each row's tokens are the last of its context."""
    per_row = scenario["tokens"] // scenario["rows"]
    return list(range(scenario["context"] - per_row, scenario["context"])) * scenario["rows"]


class Expectations:
    def __init__(self, path):
        self.data = tomllib.loads(pathlib.Path(path).read_text())
        self.constants = {name: read_constant(name, pathlib.Path(path).parent / source)
                          for name, source in self.data["constants"].items()}
        self.kernels = self.data["kernel"]
        self.launches = self.data["launch"]
        self.scenarios = self.data["scenario"]
        self.weights = self.data["weights"]
        self._check()

    def _check(self):
        for name, kernel in self.kernels.items():
            instances = set(kernel.get("instances", []))
            named = set().union(*(kernel.get(key, {}) for key in INSTANCE_KEYS))
            if wrong := set(kernel) - KERNEL_KEYS | named - instances:
                raise ValueError(f"kernel.{name}: expected keys and instances, found {sorted(wrong)}")
            if kernel.get("unit", "fp32") not in UNITS:
                raise ValueError(f"kernel.{name}: unit {kernel['unit']}, expected one of {sorted(UNITS)}")
        for launch in self.launches:
            if wrong := set(launch) - LAUNCH_KEYS:
                raise ValueError(f"launch of {launch['verb']}: expected known keys, found {sorted(wrong)}")
            if launch["kernel"] not in self.kernels:
                raise ValueError(f"launch of {launch['verb']}: {launch['kernel']} has no entry")
        if unused := set(self.kernels) - {launch["kernel"] for launch in self.launches}:
            raise ValueError(f"kernels that no launch uses: {', '.join(sorted(unused))}")

    def instance_names(self, kernel):
        instances = self.kernels[kernel].get("instances")
        return [kernel] if instances is None else [f"{kernel}<{instance}>" for instance in instances]

    def entry_names(self):
        """{name of an instance as in the sources: name of its entry}"""
        return {instance: kernel for kernel in self.kernels for instance in self.instance_names(kernel)}

    def source_name(self, compiled_name):
        for number, name in self.data["enumerators"].items():
            compiled_name = compiled_name.replace(number, name)
        return compiled_name

    def instance(self, name):
        return name.partition("<")[2].removesuffix(">")

    def opcodes(self, name):
        """(required, forbidden) of an instance."""
        kernel = self.kernels[self.entry_names()[name]]
        required = kernel.get("require", []) + kernel.get("require_in", {}).get(self.instance(name), [])
        allowed = set(required)
        forbidden = [f for f in self.data["defaults"]["forbid"] + kernel.get("forbid", []) if f not in allowed]
        return required, forbidden

    def quantities(self, scenario, weights):
        """What a formula may name."""
        named = self.data["model"]["sizes"] | self.weights[weights] | self.constants
        named |= {key: scenario[key] for key in ("tokens", "rows", "context")}
        keys = [position + 1 for position in positions(scenario)]
        named["pairs"] = sum(keys)
        named["token_ranges"] = sum(math.ceil(count / self.constants["kRangeKeys"]) for count in keys)
        named["row_keys"] = scenario["rows"] * scenario["context"]
        missed = (1 - named["experts_per_token"] / named["experts"]) ** scenario["tokens"]
        named["touched"] = named["experts"] * (1 - missed)
        for name, formula in self.data["quantities"].items():
            named[name] = formulas.evaluate(formula, named)
        return named

    def work(self, launch, quantities):
        kernel, machine = self.kernels[launch["kernel"]], self.data["machine"]
        own = kernel.get("with", {}) | launch.get("with", {})
        named = quantities | {name: formulas.evaluate(formula, quantities) for name, formula in own.items()}
        calls = formulas.evaluate(launch["per"], quantities)
        byte_count = formulas.evaluate(kernel["bytes"], named) * calls
        flops = formulas.evaluate(kernel.get("flops", 0), named) * calls
        return Work(launches=calls * formulas.evaluate(launch.get("times", 1), named), bytes=byte_count, flops=flops,
                    bytes_seconds=byte_count / machine["hbm_bytes_per_second"],
                    flops_seconds=flops / machine[UNITS[kernel.get("unit", "fp32")]])

    def shared_bytes(self, name, key="dynamic_shared"):
        """Dynamic shared memory of an instance; with most_dynamic_shared, the most that any model takes."""
        entry = self.kernels[self.entry_names()[name]]
        formula = entry.get(key, entry.get("dynamic_shared", 0))
        formula = entry.get(f"{key}_in", {}).get(self.instance(name), formula)
        return formulas.evaluate(formula, self.quantities(self.scenarios[0], next(iter(self.weights))))
