"""
The command: `nemeton up` and the client commands.

On top of all rooms: it may import any of them, none imports it. What a Druid user could not do with curl and a shell
is not decided here. Heavy imports stand inside the subcommands that need them, so that `nemeton --help` answers at
once.
"""
