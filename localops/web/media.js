// Pictures and sounds inside recorded values, in the forms in which model APIs carry them.
// Only data that is in the value itself is shown; an address elsewhere is a link, so that no page fetches it.

import { make } from "./base.js";
import { bytes } from "./formats.js";
import { link } from "./markdown.js";

// Types that a browser draws without running anything; SVG could hold scripts.
const PICTURES = /^image\/(png|jpe?g|gif|webp|avif|bmp)$/i;
const SOUNDS = /^audio\/(mpeg|mp3|wav|wave|x-wav|ogg|opus|flac|aac|mp4|webm)$/i;
const FILMS = /^video\/(mp4|webm|ogg|quicktime)$/i;
const DATA = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_=\s-]+)$/;
const BASE64 = /^[A-Za-z0-9+/_=\s-]+$/;

/** Return {type, data} (base64) or {type, address} of a part of a message that is a picture, sound or file; or null. */
export function mediaOf(part) {
  if (typeof part === "string") return ofAddress(part);
  if (!part || typeof part !== "object") return null;
  const inline = part.inline_data ?? part.inlineData;
  if (inline) return ofData(inline.data, inline.mime_type ?? inline.mimeType);
  const file = part.file_data ?? part.fileData;
  if (file?.file_uri ?? file?.fileUri)
    return { type: file.mime_type ?? file.mimeType ?? "", address: file.file_uri ?? file.fileUri };
  const { source } = part;
  if (source && typeof source === "object") {
    if (source.type === "base64") return ofData(source.data, source.media_type);
    if (source.type === "url") return ofAddress(source.url, part.type);
  }
  if (part.input_audio) return ofData(part.input_audio.data, `audio/${part.input_audio.format ?? "wav"}`);
  if (part.type === "file" || part.type === "input_file") {
    const { file_data: data } = part.file ?? part;
    return typeof data === "string" ? ofAddress(data) : null;
  }
  if (part.type === "blob" && typeof part.content === "string")
    return ofData(part.content, part.mime_type ?? `${part.modality ?? "application"}/*`);
  if (part.type === "uri") return ofAddress(part.uri, part.modality);
  const address = part.image_url?.url ?? part.image_url ?? part.audio_url?.url ?? part.video_url?.url;
  if (typeof address === "string") return ofAddress(address, "image");
  const { image } = part;
  if (part.type === "image" && typeof image === "string")
    return ofAddress(image, "image") ?? ofData(image, part.mediaType ?? part.mimeType ?? "image/png");
  return null;
}

function ofAddress(text, kind = "") {
  const match = DATA.exec(text);
  if (match) return { type: match[1].toLowerCase(), data: match[2] };
  return kind && /^https?:\/\//i.test(text) ? { type: kind, address: text } : null;
}

const ofData = (data, type) =>
  typeof data === "string" && typeof type === "string" && BASE64.test(data) ? { type: type.toLowerCase(), data } : null;

/** Return an element for what `mediaOf` returned. */
export function media({ type, data, address }) {
  if (address !== undefined)
    return make("p", {}, `${type || "file"}: `, /^https?:/i.test(address) ? link(address, address) : address);
  const plain = data.replace(/\s/g, "").replaceAll("-", "+").replaceAll("_", "/");
  const about = make(
    "p",
    { class: "faint" },
    `${type}, ${bytes(Math.floor((plain.replace(/=+$/, "").length * 3) / 4))}`,
  );
  const source = `data:${type};base64,${plain}`;
  const broken = () => about.append(": it cannot be shown");
  if (PICTURES.test(type))
    return make(
      "figure",
      { class: "media" },
      make("img", { src: source, alt: "Picture in a recorded message", loading: "lazy", onerror: broken }),
      about,
    );
  if (SOUNDS.test(type))
    return make(
      "figure",
      { class: "media" },
      make("audio", { src: source, controls: true, preload: "metadata", "aria-label": "Sound in a recorded message" }),
      about,
    );
  if (FILMS.test(type))
    return make(
      "figure",
      { class: "media" },
      make("video", { src: source, controls: true, preload: "metadata", "aria-label": "Video in a recorded message" }),
      about,
    );
  return about;
}
