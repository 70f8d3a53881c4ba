"""What sections of the report are made of: values as the file has them, keys kept as they were given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

__all__ = ["Count", "Epoch", "Number", "Place", "PLACES", "Section", "Text"]


#: where an operator runs, and how a reader sees it
PLACES = {"hw": "NPU", "hybrid": "CPU and NPU", "sw": "CPU", "none": "no work"}


_LARGEST = 1 << 53


Count = Annotated[int, Field(strict=True, ge=-_LARGEST, le=_LARGEST)]


Number = Count | Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-_LARGEST, le=_LARGEST)]
"""A finite number; whole ones stay whole in the file."""


Epoch = Annotated[int, Field(strict=True, ge=-1, le=_LARGEST)]


Text = Annotated[str, Field(strict=True)]


Place = Annotated[
    Literal["hw", "hybrid", "sw", "none"],
    BeforeValidator(lambda value: value if isinstance(value, str) and value in PLACES else "none"),
]


class Section(BaseModel):
    """A part of the report that is written as it was given: the same keys in the same order, nothing added.

    Keys without a field of their own are kept. Values are attributes, and items by their key in the file.
    """

    model_config = ConfigDict(frozen=True, extra="allow")
    _keys: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="wrap")
    @classmethod
    def _note_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Section]) -> Section:
        made = handler(data)
        if isinstance(data, Mapping):
            made._keys = tuple(map(str, data))
        return made

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found = handler(self)
        return {key: found[key] for key in self._keys if key in found}

    def __getitem__(self, key: str) -> Any:
        if key not in self._keys:
            raise KeyError(key)
        extra = self.model_extra or {}
        return extra[key] if key in extra else getattr(self, key)

    def __contains__(self, key: object) -> bool:
        return key in self._keys

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key of the file; ``default`` where it is missing."""
        return self[key] if key in self._keys else default
