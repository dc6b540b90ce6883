"""reboot, and what else a phone does not let its shell do"""

from cloudphone_phone.shell.call import Call, command


@command("reboot")
async def reboot(call: Call) -> None:
    if call.arguments[:1] == ["-p"]:
        call.android.power_off()
    else:
        call.android.restart()


@command("su")
async def su(call: Call) -> int:
    await call.complain("su: Permission denied")
    return 1
