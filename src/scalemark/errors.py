"""Everything scalemark raises on purpose.

    ScalemarkError              a user can act on it: the message says what to do
    ├── InputError              an argument or option that cannot be used
    │   ├── UnknownRungError    a rung that is not on the ladder
    │   ├── BudgetError         a time budget that nothing fits into
    │   └── TooFarError         farther beyond what was measured than a law holds
    ├── DeviceError             the device asked for is not there
    ├── StoreError              a file or folder that cannot be read or written
    │   └── SchemaError         a suite that this version cannot understand
    └── FitError                too few or unusable measurements for a law

A mistake of ours is an assertion, never one of these.
"""


class ScalemarkError(Exception):
    """Base of the tree. Its message is one line that ends in what to do."""


class InputError(ScalemarkError):
    """An argument or option that cannot be used as given."""


class UnknownRungError(InputError):
    """A rung name that is not on the ladder."""


class BudgetError(InputError):
    """A time budget that cannot be read, or that nothing fits into."""


class TooFarError(InputError):
    """What is asked for lies farther beyond what was measured than any law holds."""


class DeviceError(ScalemarkError):
    """The device asked for is not present on this machine."""


class StoreError(ScalemarkError):
    """A file or folder that cannot be read or written."""


class SchemaError(StoreError):
    """A suite file that is truncated, foreign, or of a newer schema."""


class FitError(ScalemarkError):
    """A law that cannot be fitted to what was measured."""
