"""`python -m cloudphone_deploy` is `cloudphone`: how the supervisor starts its children."""

from cloudphone_deploy.cli import main

main()
