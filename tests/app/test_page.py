from unimatch import Inference
from unimatch.app.page import app_page
from unimatch.engines.model_facts import ModelFacts


def test_names_of_classes_are_text_on_the_page():
    names = ("</script><script>alert(1)</script>", "'\"><img src=x>")
    facts = ModelFacts(names, ((0, 0, 0), (9, 9, 9)), (0.5,) * 3, (0.5,) * 3, 1, Inference())
    text = app_page({"Run": "<script>"}, ("image", "truth"), facts)
    assert text.count("<script") == 1
    assert "<img src=x" not in text
