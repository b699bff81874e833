# Arrays are checked where they run, by jaxtyping and beartype in every test: shape, kind, NumPy or
# JAX. basedpyright checks the rest, and takes an `Array` for anything.
from typing import Annotated as Bool
from typing import Annotated as Complex
from typing import Annotated as Float
from typing import Annotated as Int
from typing import Annotated as Key
from typing import Annotated as Num
from typing import Annotated as Real
from typing import Annotated as Shaped
from typing import Annotated as UInt8
from typing import Any

Array = Any
PyTree = Any

def install_import_hook(modules: str, typechecker: str) -> Any: ...

__all__ = [
    "Array",
    "Bool",
    "Complex",
    "Float",
    "Int",
    "Key",
    "Num",
    "PyTree",
    "Real",
    "Shaped",
    "UInt8",
]
