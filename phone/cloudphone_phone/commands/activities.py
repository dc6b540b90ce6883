"""am, monkey, svc, ime"""

from cloudphone_phone.shell.call import Call, CommandFailed, command

_VIEW = "android.intent.action.VIEW"


@command("am")
async def am(call: Call) -> int:
    if not call.android.booted:
        raise CommandFailed("Can't find service: activity", 20)
    call.option("--user")
    verb, *call.arguments = call.arguments or [""]
    match verb:
        case "start" | "start-activity":
            return await _start(call)
        case "force-stop" | "kill":
            call.android.activities.stop((call.arguments or [""])[-1])
            return 0
        case "kill-all":
            for name in list(call.android.activities.running):
                call.android.activities.stop(name)
            return 0
        case "broadcast":
            await call.say("Broadcasting: Intent", "Broadcast completed: result=0")
            return 0
        case "get-current-user":
            await call.say("0")
            return 0
        case _:
            await call.complain(f"Unknown command: {verb}")
            return 255


@command("monkey")
async def monkey(call: Call) -> int:
    """Only what it is used for: to start an app by its package."""
    package = call.option("-p")
    if not call.android.screen.start(package):
        await call.say("** No activities found to run, monkey aborted.")
        return 252
    await call.say("Events injected: 1")
    return 0


@command("svc", "ime")
async def switch(call: Call) -> None:
    """There is nothing to be switched on or off; scripts do it all the same."""


async def _start(call: Call) -> int:
    component = call.option("-n")
    action = call.option("-a")
    for option in ("-d", "-t", "-c", "-f", "-e", "--es", "--ez", "--ei"):
        while call.option(option):
            pass
    call.flag("-W", "-S", "-D")
    package, _, activity = component.partition("/")
    package = package or next((argument for argument in call.arguments if not argument.startswith("-")), "")
    if action == _VIEW and not package:
        package = "com.android.documentsui"
    activity = f"{package}{activity}" if activity.startswith(".") else activity
    await call.say(f"Starting: Intent {{ cmp={package}/{activity} }}")
    if not call.android.screen.start(package, activity or None):
        await call.complain("Error type 3", f"Error: Activity class {{{package}/{activity}}} does not exist.")
        return 1
    return 0
