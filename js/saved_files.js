/* Files that are no pictures, told under "images" because workers in the cloud look nowhere else: the canvas would try to
 * draw a PDF or a LoRA, and say that it cannot. They are taken out of what it was told before it draws; the server's
 * history keeps all. */

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";

const NO_PICTURE = /\.(pdf|cbz|epub|safetensors)$/i;

app.registerExtension({
  name: "StoryBooth.SavedFiles",
  setup() {
    api.addEventListener("executed", ({ detail }) => {
      const files = detail?.output?.images;
      if (!Array.isArray(files)) return;
      const pictures = files.filter((file) => !NO_PICTURE.test(file?.filename));
      if (pictures.length < files.length) files.splice(0, files.length, ...pictures); // the canvas holds this very list
    });
  },
});
