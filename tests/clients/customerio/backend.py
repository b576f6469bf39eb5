"""What a shop's backend does with the customerio package. Prints how its errors look."""

import json
import os

from customerio import CustomerIO, CustomerIOException

SETTINGS = json.loads(os.environ["CLIENT_RUN"])
PERSON, NOW = SETTINGS["person"], SETTINGS["now"]


def client(key):
    return CustomerIO(SETTINGS["siteId"], key, host="localhost", port=SETTINGS["port"])


def story(cio):
    second, deleted, suppressed = SETTINGS["second"], SETTINGS["deleted"], SETTINGS["suppressed"]
    cio.identify(PERSON, email="jo@shop.example", plan="pro", created_at=NOW)
    cio.identify(second, nickname="Jojo")
    cio.merge_customers("id", PERSON, "id", second)
    for _ in range(2):
        cio.track(PERSON, "Mug Filled", {"volume": 0.3}, id=SETTINGS["ulid"], timestamp=NOW)
    cio.pageview(PERSON, "/mugs")
    cio.track_anonymous(SETTINGS["visitor"], "Mug Seen", {"colour": "blue"})
    cio.add_device(PERSON, "token/1", "ios", last_used=NOW, attributes={"app": "shop"})
    cio.add_device(PERSON, "token/2", "android")
    cio.delete_device(PERSON, "token/2")
    cio.identify(deleted)
    cio.delete(deleted)
    cio.identify(suppressed)
    cio.suppress(suppressed)
    cio.identify(suppressed, plan="ignored")
    cio.unsuppress(suppressed)
    cio.backfill(PERSON, "Mug Bought", NOW - 86400, price=12)
    cio.batch([
        {"type": "person", "action": "identify", "identifiers": {"id": suppressed}, "attributes": {"plan": "back"}},
        {"type": "person", "action": "event", "identifiers": {"id": PERSON}, "name": "Mug Broken"},
    ])


def refusal(work):
    try:
        work()
    except CustomerIOException as error:
        return {"type": type(error).__name__, "status": int(str(error)[:3]), "message": str(error)}
    return {"type": "none"}


def main():
    cio = client(SETTINGS["apiKey"])
    story(cio)
    wrong_key = refusal(lambda: client("wrong").identify(PERSON, plan="stolen"))
    invalid = refusal(lambda: cio.track(PERSON, "n" * 101))
    print(json.dumps({"wrongKey": wrong_key, "invalid": invalid}))


main()
