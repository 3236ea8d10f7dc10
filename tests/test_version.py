from helpers.pages import ROOT
from unimatch import __version__


def test_citation_has_the_packages_version():
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
