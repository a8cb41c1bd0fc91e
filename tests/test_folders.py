"""Folder pairs and tables: what belongs together is found, what does not is named."""

import numpy as np
import pytest

from dirl_lib.data.dataset import MaskedPhotos
from dirl_lib.data.folders import FolderError, pair_folders, read_table
from dirl_lib.images import ImageFileError, write_image, write_mask


@pytest.fixture
def folders(tmp_path):
    """`images/` and `masks/` with a cat, and a dog with two masks."""
    for room in ("images", "masks"):
        (tmp_path / room).mkdir()
    for name in ("cat", "my dog_2"):
        add_image(tmp_path, name)
    for name in ("cat", "my dog_2_a", "my dog_2_b"):
        add_mask(tmp_path, name)
    return tmp_path


def add_image(root, name, size=(40, 50)):
    write_image(root / "images" / f"{name}.jpg", np.full((*size, 3), 90, dtype=np.uint8))


def add_mask(root, name, size=(40, 50)):
    mask = np.zeros(size, dtype=bool)
    mask[10:20, 10:30] = True
    write_mask(root / "masks" / f"{name}.png", mask)


def test_names_make_pairs_also_several_masks_of_one_photograph(folders):
    pairs = pair_folders(folders / "images", folders / "masks")
    assert [(pair.name, pair.photo) for pair in pairs] == [
        ("cat", "cat"),
        ("my dog_2_a", "my dog_2"),
        ("my dog_2_b", "my dog_2"),
    ]
    assert pairs[2].image_path.name == "my dog_2.jpg"


def test_hidden_and_other_files_do_not_matter(folders):
    (folders / "images" / "Thumbs.db").touch()
    (folders / "masks" / ".DS_Store").touch()
    (folders / "masks" / ".cat.png.part").touch()
    assert len(pair_folders(folders / "images", folders / "masks")) == 3


def test_a_lonely_file_stops_or_is_counted(folders):
    add_image(folders, "bird")
    add_mask(folders, "fish")
    with pytest.raises(FolderError, match=r"fish\.png: found no image 'fish'"):
        pair_folders(folders / "images", folders / "masks")
    problems = []
    assert len(pair_folders(folders / "images", folders / "masks", problems=problems)) == 3
    assert [line.split(":")[0].rsplit("/")[-1] for line in problems] == ["fish.png", "bird.jpg"]


def test_two_images_of_one_stem_are_not_chosen_between(folders):
    write_image(folders / "images" / "cat.png", np.zeros((40, 50, 3), dtype=np.uint8))
    with pytest.raises(FolderError, match=r"cat\.png: cat\.jpg has the same name"):
        pair_folders(folders / "images", folders / "masks")


def test_a_link_out_of_the_folder_is_not_followed(folders, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    (folders / "masks" / "cat.png").rename(secret)
    (folders / "masks" / "cat.png").symlink_to(secret)
    with pytest.raises(FolderError, match=r"cat\.png: .*lies outside"):
        pair_folders(folders / "images", folders / "masks")


def test_a_table_that_names_one_file_for_both_is_refused(folders):
    with pytest.raises(FolderError, match="stands for image and mask"):
        table(folders, "name\nimages/cat.jpg\n")


def test_nothing_in_common_says_how_to_name_files(folders):
    for mask in (folders / "masks").iterdir():
        mask.rename(mask.with_name(f"x{mask.name.replace('_', '-')}"))
    with pytest.raises(FolderError, match="name them alike"):
        pair_folders(folders / "images", folders / "masks", problems=[])
    with pytest.raises(FolderError, match="no such folder"):
        pair_folders(folders / "pictures", folders / "masks")


def table(root, text, **options):
    (root / "index.csv").write_bytes(text.encode())
    return read_table(root / "index.csv", **options)


def test_a_table_with_names(folders):
    add_mask(folders, "my dog_2")
    rows = table(folders, "name,class,split\ncat,cat,train\nmy dog_2,dog,test\n")
    assert [(r.name, r.category, r.split, r.photo) for r in rows] == [
        ("cat", "cat", "train", "cat"),
        ("my dog_2", "dog", "test", "my dog_2"),
    ]
    assert [r.name for r in table(folders, "name,split\ncat,train\nmy dog_2,test\n", split="test")] == ["my dog_2"]


def test_a_table_with_image_and_mask_by_stem_or_by_path(folders):
    rows = table(folders, "image,mask\nmy dog_2,my dog_2_a\nimages/my dog_2.jpg,masks/my dog_2_b.png\n")
    assert [r.name for r in rows] == ["my dog_2_a", "my dog_2_b"]
    assert {r.image_path.name for r in rows} == {"my dog_2.jpg"}


def test_kinds_have_their_own_rooms_and_scenes_take_the_place_of_photographs(folders):
    (folders / "natural").mkdir()
    for room in ("images", "masks"):
        (folders / room).rename(folders / "natural" / room)
    rows = table(folders, "name,kind,background_scene\ncat,natural,g7\n", kind="natural")
    assert rows[0].photo == "g7"
    with pytest.raises(FolderError, match="found no line with kind 'composite', only: natural"):
        table(folders, "name,kind\ncat,natural\n", kind="composite")


def test_windows_excel_and_a_dot_in_the_name(folders):
    add_image(folders, "v1.2")
    add_mask(folders, "v1.2")
    assert [r.name for r in table(folders, "\ufeffname,class\r\nv1.2,\r\ncat,cat\r\n")] == ["v1.2", "cat"]


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("title,class\ncat,cat\n", "found the columns title, class, expected name, or image and mask"),
        ("name,class\n", "found no lines below the header"),
        ("name,class\ncat\n", "line 2: found another number of cells"),
        ("name\nbird\n", r"line 2: found no file images/bird\.jpg"),
        ('name,class\n"",x\n', "line 2: found an empty cell"),
        ("name\ncat\ncat\n", "line 3: cat stands there a second time"),
        ("name\n../../secret\n", "line 2: .*lies outside"),
        ("image,mask\n/etc/passwd.png,cat\n", "line 2: .*(lies outside|found no file)"),
    ],
)
def test_a_bad_table_is_refused_in_one_line(folders, text, refusal):
    with pytest.raises(FolderError, match=refusal) as caught:
        table(folders, text)
    assert "\n" not in str(caught.value)


def test_bad_lines_are_counted_when_asked(folders):
    problems = []
    rows = table(folders, "name\nbird\ncat\n../cat\ncat\n", problems=problems)
    assert [r.name for r in rows] == ["cat"]
    assert ["line 2" in problems[0], "line 4" in problems[1], "line 5" in problems[2]] == [True] * 3


def test_no_table_and_no_text(folders):
    with pytest.raises(FolderError, match="no such table"):
        read_table(folders / "nothing.csv")
    (folders / "index.csv").write_bytes(b"name\n\xff\xfe\n")
    with pytest.raises(FolderError, match="cannot be read as CSV in UTF-8"):
        read_table(folders / "index.csv")


def test_a_data_set_names_the_mask_that_does_not_fit(folders):
    add_mask(folders, "cat", size=(50, 40))
    data = MaskedPhotos(pair_folders(folders / "images", folders / "masks"), size=32)
    assert data[1].mask.shape == (1, 32, 32)
    with pytest.raises(ImageFileError, match=r"cat\.png: found a mask of 50x40 .*expected 40x50"):
        data[0]


def test_a_data_set_refuses_what_it_cannot_tell_apart(folders):
    pairs = pair_folders(folders / "images", folders / "masks")
    with pytest.raises(ValueError, match="found no records"):
        MaskedPhotos([])
    with pytest.raises(ValueError, match="two records of one name"):
        MaskedPhotos([*pairs, pairs[0]])
    with pytest.raises(ValueError, match="expected 'released' or None"):
        MaskedPhotos(pairs, augment="strong")


def test_the_courses_own_tables_are_read(shared):
    counts = {
        "coco_mini": (276, 158),
        "ecssd": (410, 410),
        "real_composites": (28, 28),
    }
    for name, (lines, photos) in counts.items():
        rows = read_table(shared / name / "index.csv")
        assert (len(rows), len({row.photo for row in rows})) == (lines, photos)
        assert MaskedPhotos(rows[:3], size=64)[2].mask.any()
    natural = read_table(shared / "lalonde_efros" / "index.csv", kind="natural")
    assert len(natural) == 1699
    scenes = {split: {row.photo for row in natural if row.split == split} for split in ("train", "val", "test")}
    assert not scenes["train"] & (scenes["val"] | scenes["test"])
