"""What a user can put right."""


class UserError(Exception):
    """A user's mistake or a machine's condition; the text is one clear sentence that names the nearest way out.

    The command line prints it without a traceback and exits with 2.
    """


class ConfigError(UserError):
    """A value that the configuration cannot take; the message names the field and the nearest valid choice."""
