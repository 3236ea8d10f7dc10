"""Files of class names as people and label tools write them: two classes, other and road."""

OF_TOOLS = {
    "roboflow": ("_classes.csv", "Pixel Value, Class\n0, other\n1, road\n", False),
    "camvid": ("class_dict.csv", "name,r,g,b\nother,0,0,0\nroad,128,64,128\n", True),
    "semicolons": ("classes.csv", "Id;Name;Colour\n1;road;#804080\n0;other;#000000\n", True),
    "csv of names": ("classes.csv", "name\nother\nroad\n", False),
    "csv without header": ("classes.csv", "other,0,0,0\nroad,128,64,128\n", True),
    "comments": ("classes.txt", "# my classes\nother\n\n// and\nroad\n", False),
    "numbers": ("classes.txt", "0 other\n1 road\n", False),
    "colons": ("classes.txt", "0: other\n1: road\n", False),
    "numbers behind": ("classes.txt", "road: 1\nother: 0\n", False),
    "table": ("classes.txt", "id name\n0 other\n1 road\n", False),
    "numbers and colours": ("classes.txt", "0 0 0 0 other\n1 128 64 128 road\n", True),
    "numbers, names, colours": ("classes.txt", "0 other 0 0 0\n1 road 128 64 128\n", True),
    "colours behind": ("classes.txt", "other 0 0 0\nroad 128 64 128\n", True),
    "hexadecimal": ("classes.txt", "#000000 other\n#804080 road\n", True),
    "colours in brackets": ("classes.txt", "other: (0, 0, 0)\nroad: [128, 64, 128]\n", True),
    "colours of CSS": ("classes.txt", "other rgb(0, 0, 0)\nroad rgb(128,64,128)\n", True),
    "bars": ("classes.txt", "0|other\n1|road\n", False),
    "rows of a spreadsheet": ("classes.csv", "name;r;g;b\nother;0;0;0\nroad;128;64;128\n;;;\n", True),
    "darwin": ("classes.csv", "class_name,class_color\nother,0 0 0\nroad,128 64 128\n", True),
    "supervisely": ("classes.json", '{"classes": [{"title": "other", "color": "#000000"}, '
                    '{"title": "road", "color": "#804080"}]}', True),
    "hugging face": ("classes.json", '{"id2label": {"0": "other", "1": "road"}}', False),
    "cvat": ("labelmap.txt", "# label:color_rgb:parts:actions\nother:0,0,0::\nroad:128,64,128::\n", True),
    "labelme": ("labels.txt", "__ignore__\nother\nroad\n", False),
    "yolo list": ("data.yaml", "train: ../train/images\nnc: 2\nnames: ['other', 'road']\n", False),
    "yolo map": ("data.yaml", "path: x\nnames:\n  0: other\n  1: road\n", False),
    "json map": ("classes.json", '{"0": "other", "1": "road"}', False),
    "json ids": ("classes.json", '{"road": 1, "other": 0}', False),
    "json objects": ("classes.json", '[{"id": 1, "name": "road", "color": "#804080"}, '
                     '{"id": 0, "name": "other", "color": [0, 0, 0]}]', True),
    "json categories": ("classes.json", '{"categories": [{"id": 0, "name": "other"}, '
                        '{"id": 1, "name": "road"}]}', False),
    "json colours": ("classes.json", '{"other": [0, 0, 0], "road": [128, 64, 128]}', True),
}  # fmt: skip
"""By name: a file's name, its text, and whether it gives the colours black and (128, 64, 128)."""
