"""Makes the stubs of proto/latentd/v1 while the package is built, from a checkout or from an sdist."""
import importlib.metadata
import pathlib
import shutil
import tempfile

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

PACKAGE = "latentd/v1"


def proto_folder(root):
    """An sdist brings the schema along; a checkout has it at the top of the tree."""
    for folder in (root / "proto", root.parent.parent / "proto"):
        if (folder / PACKAGE / "generation.proto").exists():
            return folder
    raise FileNotFoundError(f"expected proto/{PACKAGE} in {root} or two folders above it; build from latentd's "
                            "checkout or from an sdist")


def generate(protos, out):
    """Writes messages, their types and the gRPC stubs below `out`."""
    import grpc_tools
    from grpc_tools import protoc
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = [str(path.relative_to(protos)) for path in sorted((protos / PACKAGE).glob("*.proto"))]
    code = protoc.main(["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={out}", f"--pyi_out={out}",
                        f"--grpc_python_out={out}", *files])
    if code != 0:
        raise RuntimeError(f"expected protoc to accept {', '.join(files)}, found exit code {code}; see its lines above")


class StubsHook(BuildHookInterface):
    def initialize(self, version, build_data):
        root = pathlib.Path(self.root)
        protos = proto_folder(root)
        if self.target_name == "sdist":
            build_data["force_include"][str(protos / PACKAGE)] = f"proto/{PACKAGE}"
            return
        build_data["pure_python"] = True
        if version == "editable":  # Python reads the sources where they are
            generate(protos, root / "src")
            return
        self.generated = tempfile.mkdtemp(prefix="latentd-stubs-")
        generate(protos, self.generated)
        for path in pathlib.Path(self.generated, PACKAGE).iterdir():
            build_data["force_include"][str(path)] = f"{PACKAGE}/{path.name}"

    def finalize(self, version, build_data, artifact_path):
        if hasattr(self, "generated"):
            shutil.rmtree(self.generated)


class DependenciesHook(MetadataHookInterface):
    """Stubs need the runtimes that they were made for, or newer ones."""

    def update(self, metadata):
        made_by = importlib.metadata.requires("grpcio-tools") or []
        metadata["dependencies"] = [
            *(line for line in made_by if line.startswith(("grpcio", "protobuf"))),
            "grpcio-health-checking",
            "googleapis-common-protos",
        ]
