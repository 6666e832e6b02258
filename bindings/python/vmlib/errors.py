"""Exceptions: one class per error code of the library."""
from typing import Dict, Type, Union

from .enums import ErrorCode


class Error(Exception):
    """A call of the library failed.

    code: the library's code (ErrorCode, or a plain int of a host program's own);
    detail: what was wrong: the argument and the reason.
    """

    code: int

    def __init__(self, code: int, meaning: str = "", detail: str = "") -> None:
        super().__init__(detail or meaning)
        try:
            self.code = ErrorCode(code)
        except ValueError:
            self.code = code
        self.meaning = meaning
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.detail} ({self.meaning})" if self.detail else self.meaning

    def __reduce__(self) -> "tuple[Type[Error], tuple[int, str, str]]":
        return type(self), (int(self.code), self.meaning, self.detail)


class InvalidError(Error, ValueError):
    """An argument is wrong."""


class NoMemoryError(Error, MemoryError):
    """The host has no memory left."""


class StateError(Error):
    """Not in this state: an exit waits for completion, the object is closed, ..."""


class BusyError(Error):
    """The object is in use: the vCPU runs."""


class ExistsError(Error):
    """Overlaps or duplicates something that is already there."""


class RangeError(Error, ValueError):
    """Address and size leave the allowed range."""


class NotFoundError(Error, LookupError):
    """No such object."""


class UnsupportedError(Error):
    """The backend refuses this feature."""


class UnavailableError(Error):
    """No backend of the list can be used on this machine."""


class ForkError(Error):
    """The VM was created by the parent of this process."""


class GuestMemoryError(Error):
    """Guest memory is not mapped or does not allow the access."""


class HostError(Error, OSError):
    """A host system call failed."""

    __str__ = Error.__str__


class LimitError(Error):
    """A fixed limit of the library or the backend is reached."""


_CLASSES: Dict[int, Type[Error]] = {
    ErrorCode.INVAL: InvalidError,
    ErrorCode.NOMEM: NoMemoryError,
    ErrorCode.STATE: StateError,
    ErrorCode.BUSY: BusyError,
    ErrorCode.EXISTS: ExistsError,
    ErrorCode.RANGE: RangeError,
    ErrorCode.NOTFOUND: NotFoundError,
    ErrorCode.UNSUPPORTED: UnsupportedError,
    ErrorCode.UNAVAILABLE: UnavailableError,
    ErrorCode.FORK: ForkError,
    ErrorCode.FAULT: GuestMemoryError,
    ErrorCode.IO: HostError,
    ErrorCode.LIMIT: LimitError,
}


def make(code: int, meaning: str, detail: Union[str, None]) -> Error:
    """The exception for a code (called by the compiled part)."""
    return _CLASSES.get(code, Error)(code, meaning, detail or "")
