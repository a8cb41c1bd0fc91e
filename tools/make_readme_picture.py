"""Make the README's picture, docs/composites.jpg: composites above their masks, in the manner of the paper's Fig. 1."""

from course.notebooks import ROOT

from dirl_lib.data.sample import find_sample, list_samples
from dirl_lib.images import read_image, read_mask, write_image
from dirl_lib.plotting import over_masks

SHOWN = (("coffee", "cup", "xiao_ma"), ("china", "pagoda", "reinhard"), ("chelsea", "face", "histogram"))


def main() -> None:
    names = [find_sample(photo, region=region, method=method) for photo, region, method in SHOWN]
    records = {record.name: record for record in list_samples()}
    images = [read_image(records[name].image_path) for name in names]
    masks = [read_mask(records[name].mask_path) for name in names]
    write_image(ROOT / "docs" / "composites.jpg", over_masks(images, masks))


if __name__ == "__main__":
    main()
