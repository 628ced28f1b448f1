"""What a user can put right."""


class UserError(Exception):
    """A user's mistake or a machine's condition; the text is one clear sentence that names the nearest way out.

    The command line prints it without a traceback and exits with 2.
    """
