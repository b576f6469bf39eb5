"""segment-analytics-python and rudder-sdk-python, which have one ancestor and one interface."""

import json
import os
import sys

SETTINGS = json.loads(os.environ["CLIENT_RUN"])

if SETTINGS["package"] == "rudder-sdk-python":
    from rudderstack.analytics.client import Client
else:
    from segment.analytics.client import Client


def send(client, call):
    kind, user, mark = call["kind"], call["user"], call["mark"]
    if kind == "alias":
        client.alias(previous_id=call["previous"], user_id=user)
        return
    named = {"user_id": user, "anonymous_id": f"{user}-visitor"}
    properties = {"call": mark, "url": "https://shop.example/mugs", "emoji": "Ünïcødé 🎉"}
    if kind == "identify":
        client.identify(traits={"call": mark, "plan": "pro"}, **named)
    elif kind == "track":
        client.track(event="Mug Filled", properties=properties, **named)
    elif kind == "group":
        client.group(group_id=mark, traits={"name": "Potters"}, **named)
    else:
        getattr(client, kind)(name="Mugs", properties=properties, **named)


def main():
    client = Client(
        SETTINGS["writeKey"],
        host=SETTINGS["url"],
        gzip=True,
        on_error=lambda error, batch: print(error, len(batch), file=sys.stderr),
    )
    for calls in SETTINGS["rounds"]:
        for call in calls:
            send(client, call)
        client.flush()
    client.shutdown()


main()
