"""The errors a user can cause; each message is one sentence with what was expected and got."""


class InputError(ValueError):
    """Something given from outside cannot be used."""


class SettingsError(InputError):
    """A setting has a value that cannot work."""


class DataError(InputError):
    """A shard, a tokenizer or a corpus is not what it should be."""


class ArtifactError(InputError):
    """A model file is damaged, does not fit the model, or is too large."""


class TrainingError(InputError):
    """Training with these settings broke down."""


class ExportError(InputError):
    """A record folder cannot be written where it was asked for."""


class CheckpointError(InputError):
    """A checkpoint cannot be written, or cannot be resumed from."""


class AblationError(InputError):
    """An ablation cannot go on in the folder that was given, or cannot be drawn."""
