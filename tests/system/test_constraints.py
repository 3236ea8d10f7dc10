import configparser
import re

from helpers.places import ROOT


def test_the_oldest_versions_are_those_that_the_package_allows():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    floors = dict(re.findall(r"^([\w-]+) >=([\d.]+)", setup["options"]["install_requires"], re.M))
    lines = (ROOT / "constraints-oldest.txt").read_text().splitlines()
    oldest = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert oldest.keys() == floors.keys()
    for name, floor in floors.items():
        assert f"{oldest[name]}.".startswith(f"{floor}."), name
