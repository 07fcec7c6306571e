"""What compiled modules take for granted of msgspec Structs must be so: see farebox/native.py, 'Structs'."""

import ctypes
import re
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

import farebox

ROOT = Path(farebox.__file__).parent.parent
CLASS = re.compile(
    r"^    ctypedef class (farebox[\w.]+)\.(\w+)(?:\((\w+)\))? \[object (\w+), check_size error\]:\n"
    r"((?: {8}cdef object .+\n)+)",
    re.MULTILINE,
)
STRUCT = re.compile(r"^    typedef struct \{\n(.+?)^    \} (\w+);", re.MULTILINE | re.DOTALL)
FILES = sorted(ROOT.glob("farebox/*/*_layout.pxd"))


class Member(ctypes.Structure):
    """The beginning of CPython's PyMemberDef."""

    _fields_ = (("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t))


def offset(cls: type, field: str) -> int:
    """Where a member stands in an object: `d_member->offset` of its descriptor, which begins with four pointers."""
    owner = next(base for base in cls.__mro__ if field in base.__dict__)
    pointer = ctypes.sizeof(ctypes.c_void_p)
    begins = object.__basicsize__ + 3 * pointer
    address = ctypes.c_void_p.from_address(id(owner.__dict__[field]) + begins).value
    assert address is not None
    return Member.from_address(address).offset


@pytest.mark.parametrize("path", FILES, ids=[file.stem for file in FILES])
def test_the_members_of_structs_stand_where_compiled_modules_read_them(path: Path) -> None:
    text = path.read_text()
    structs = {name: re.findall(r"\*(\w+)", body) for body, name in STRUCT.findall(text)}
    classes = CLASS.findall(text)
    assert len(classes) == len(structs) == text.count("ctypedef class")
    for module, name, base, c_name, body in classes:
        cls = getattr(import_module(module), name)
        own = [field for line in body.splitlines() for field in line.removeprefix("        cdef object ").split(", ")]
        fields = (structs[f"Farebox{base}"] if base else []) + structs[c_name]
        assert issubclass(cls, msgspec.Struct) and own == structs[c_name]
        assert sorted(fields) == sorted(cls.__struct_fields__)
        first, size = object.__basicsize__, ctypes.sizeof(ctypes.c_void_p)
        assert [offset(cls, field) for field in fields] == [first + size * at for at in range(len(fields))]
        assert cls.__basicsize__ == first + size * len(fields)
