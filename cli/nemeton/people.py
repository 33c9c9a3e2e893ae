"""The commands `nemeton user …` and `nemeton role …`: names, options, help. What they do stands in `client.people`."""

from typing import Annotated

import typer

from nemeton.words import DEFAULT_OVERLORD, WIDE, OverlordUrl, in_words, print_json

user = typer.Typer(no_args_is_help=True, help="Who may sign in, and with which roles.")
role = typer.Typer(no_args_is_help=True, help="What roles allow.")

UserName = Annotated[str, typer.Argument(metavar="USER")]
RoleName = Annotated[str, typer.Argument(metavar="ROLE")]
Roles = Annotated[list[str] | None, typer.Option("--role", help="A role that he gets; may be repeated.")]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="ACTION:TYPE:NAME", help="READ:DATASOURCE:web.* for example; may be repeated."),
]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="The password is a line of the standard input, not typed.")
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]


@user.command("list")
def list_users(json: AsJson = False, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """List users, and the roles that each has."""
    from rich.console import Console

    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People, show_users

    with in_words():
        found = People(Overlord(overlord)).users()
    print_json(found) if json else show_users(found, Console(width=WIDE, highlight=False))


@user.command("add")
def add_user(
    name: UserName, roles: Roles = None, password_stdin: FromStdin = False, overlord: OverlordUrl = DEFAULT_OVERLORD
) -> None:
    """
    Make a user who can sign in.

    \b
      nemeton user add ana --role web
      pass show nemeton/ana | nemeton user add ana --password-stdin
    """
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People
    from nemeton.client.sign_in import new_password

    with in_words():
        people = People(Overlord(overlord))
        people.add_user(name, new_password(name, from_stdin=password_stdin), roles or [])
    print(f"{name} can sign in")


@user.command("password")
def set_password(name: UserName, password_stdin: FromStdin = False, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Give a user another password. The one before is good no longer."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People
    from nemeton.client.sign_in import new_password

    with in_words():
        people = People(Overlord(overlord))
        people.set_password(name, new_password(name, from_stdin=password_stdin))
    print(f"{name} has another password")


@user.command("remove")
def remove_user(name: UserName, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Remove a user, within a second at every replica."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).remove_user(name)
    print(f"{name} is removed")


@user.command("grant")
def grant(name: UserName, role: RoleName, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Give a user a role."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).grant(name, role)
    print(f"{name} has role {role}")


@user.command("revoke")
def revoke(name: UserName, role: RoleName, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Take a role from a user."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).withdraw(name, role)
    print(f"{name} has role {role} no more")


@role.command("list")
def list_roles(json: AsJson = False, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """List roles, what each allows and who has it."""
    from rich.console import Console

    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People, show_roles

    with in_words():
        found = People(Overlord(overlord)).roles()
    print_json(found) if json else show_roles(found, Console(width=WIDE, highlight=False))


@role.command("add")
def add_role(name: RoleName, allow: Allowed = None, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """
    Make a role.

    Types are DATASOURCE, STATE, CONFIG and EXTERNAL; the name is a regular expression for the whole name.

    \b
      nemeton role add web --allow READ:DATASOURCE:web.* --allow WRITE:DATASOURCE:web.*
    """
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).add_role(name, allow or [])
    print(f"role {name} is made")


@role.command("set")
def set_role(name: RoleName, allow: Allowed = None, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Say anew all that a role allows; without --allow it allows nothing."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).set_role(name, allow or [])
    print(f"role {name} is set")


@role.command("remove")
def remove_role(name: RoleName, overlord: OverlordUrl = DEFAULT_OVERLORD) -> None:
    """Remove a role. Whoever had it has it no more."""
    from nemeton.client.overlord import Overlord
    from nemeton.client.people import People

    with in_words():
        People(Overlord(overlord)).remove_role(name)
    print(f"role {name} is removed")
