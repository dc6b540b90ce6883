"""getprop, setprop, settings"""

from cloudphone_phone.android.properties import PropertyRefused, is_text
from cloudphone_phone.shell.call import Call, CommandFailed, command

_NAMESPACES = ("system", "secure", "global")
_MOST_SETTINGS, _LONGEST_SETTING = 1000, 10_000


@command("getprop")
async def getprop(call: Call) -> None:
    properties = call.android.properties
    if call.arguments:
        name, *default = call.arguments
        await call.say(properties.get(name) or "".join(default[:1]))
    else:
        await call.say(*(f"[{name}]: [{value}]" for name, value in sorted(properties.all().items())))


@command("setprop")
async def setprop(call: Call) -> None:
    if len(call.arguments) != 2:
        raise CommandFailed("Usage: setprop NAME VALUE")
    name, value = call.arguments
    try:
        keep = call.android.properties.set(name, value)
    except PropertyRefused as refused:
        raise CommandFailed(f"failed to set property '{name}' to '{value}': {refused}") from None
    if keep:
        await call.android.volume.save()


@command("settings")
async def settings(call: Call) -> None:
    call.option("--user")
    match call.arguments:
        case ["get", ("system" | "secure" | "global") as namespace, name]:
            await call.say(_of(call, namespace).get(name, "null"))
        case ["list", ("system" | "secure" | "global") as namespace]:
            await call.say(*(f"{name}={value}" for name, value in sorted(_of(call, namespace).items())))
        case ["put", ("system" | "secure" | "global") as namespace, name, value, *_]:
            if len(name) > 200 or len(value) > _LONGEST_SETTING or len(_of(call, namespace)) >= _MOST_SETTINGS:
                raise CommandFailed("too long a setting, or too many")
            if not is_text(name + value):
                raise CommandFailed("a setting is text")
            call.android.volume.contents.settings.setdefault(namespace, {})[name] = value
            await call.android.volume.save()
        case ["delete", ("system" | "secure" | "global") as namespace, name]:
            gone = call.android.volume.contents.settings.get(namespace, {}).pop(name, None)
            await call.say(f"Deleted {int(gone is not None)} rows")
            await call.android.volume.save()
        case _:
            raise CommandFailed(f"Usage: settings get|put|delete|list {'|'.join(_NAMESPACES)} [NAME [VALUE]]", 255)


def _of(call: Call, namespace: str) -> dict[str, str]:
    return call.android.volume.contents.settings.get(namespace, {})
