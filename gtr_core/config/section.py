"""What every section of the configuration is: frozen, of strict types, and clear about what it refuses."""

from typing import Any, ClassVar, Self

from pydantic import ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from gtr_core.config.mistakes import refusal_of


@dataclass(frozen=True)
class Section:
    """Fields whose ranges and choices stand beside them; what several of them must fulfil is in `__post_init__`.

    Raises:
        ConfigError: a value that its field cannot take, in one sentence.
    """

    PLACE: ClassVar[str] = ""  # of the section in an experiment, `model.lora.`: sentences name whole keys

    __pydantic_config__ = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="wrap")
    @classmethod
    def _in_a_sentence(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(values)
        except ValidationError as error:
            said = refusal_of(cls, error)
            if said is None:
                raise
            raise said from error
