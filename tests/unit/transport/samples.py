"""A value of any message or view, made from its type: every field set, and set to something else than its default."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect


def sample(kind: Any) -> Any:
    """A value of the type `kind`."""
    return _value(inspect.type_info(kind))


def alternatives(kind: Any) -> list[Any]:
    """A value of each member of a union (or of a list of one); of anything else one value."""
    info = inspect.type_info(kind)
    if isinstance(info, inspect.UnionType):
        return [_value(part) for part in info.types]
    if isinstance(info, inspect.ListType) and isinstance(info.item_type, inspect.UnionType):
        return [[_value(part)] for part in info.item_type.types]
    return [_value(info)]


def _value(info: inspect.Type) -> Any:
    match info:
        case inspect.StructType():
            return msgspec.convert({field.encode_name: _plain(field) for field in info.fields}, info.cls, strict=False)
        case inspect.NoneType():
            return None
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 41
        case inspect.FloatType():
            return 2.5
        case inspect.StrType():
            return "ünïcode"
        case inspect.BytesType():
            return b"\x00bytes\xff"
        case inspect.AnyType():
            return {"any": [1, "x", None]}
        case inspect.EnumType():
            return list(info.cls)[-1]
        case inspect.LiteralType():
            return info.values[-1]
        case inspect.UnionType():
            return _value(next(part for part in info.types if not isinstance(part, inspect.NoneType)))
        case inspect.ListType():
            return [_value(info.item_type)]
        case inspect.VarTupleType():
            return (_value(info.item_type),)
        case inspect.TupleType():
            return tuple(_value(part) for part in info.item_types)
        case inspect.DictType():
            return {_value(info.key_type): _value(info.value_type)}
        case _:
            raise NotImplementedError(f"a sample of {info}")


def _plain(field: inspect.Field) -> Any:
    """What `convert` takes for a field: structs as plain data, with their tags."""
    value = _value(field.type)
    if value == field.default:
        others = [not value] if isinstance(value, bool) else [m for m in type(value) if m != value]
        value = others[0]
    return msgspec.to_builtins(value)
