// Pictures and sounds inside recorded values, in the forms in which model APIs carry them.
// Only data that is in the value itself or in a file of its event is shown; an address elsewhere is a link, so that no
// page fetches it.

import { make } from "./base.js";
import { fileOf } from "./files.js";
import { bytes } from "./formats.js";
import { link } from "./markdown.js";

// Types that a browser draws without running anything; SVG could hold scripts.
const PICTURES = /^image\/(png|jpe?g|gif|webp|avif|bmp)$/i;
const SOUNDS = /^audio\/(mpeg|mp3|wav|wave|x-wav|ogg|opus|flac|aac|mp4|webm)$/i;
const FILMS = /^video\/(mp4|webm|ogg|quicktime)$/i;
const DATA = /^data:([\w.+-]+\/[\w.+-]+)(?:;[\w=.+-]+)*;base64,([A-Za-z0-9+/_=\s-]+)$/;
const BASE64 = /^[A-Za-z0-9+/_=\s-]+$/;
// How base64 of a file begins; a text of at least so many characters may be such a file.
const SIGNS = [
  [/^iVBORw0KGgo/, "image/png"],
  [/^\/9j\//, "image/jpeg"],
  [/^R0lGOD/, "image/gif"],
  [/^UklGR.{6}XRUJQ/, "image/webp"],
  [/^UklGR.{6}XQVZF/, "audio/wav"],
  [/^T2dnUw/, "audio/ogg"],
  [/^ZkxhQ/, "audio/flac"],
];
const SHORTEST = 40;

/**
 * Return {type, data} (base64), {type, address}, or {type, file} of a part of a message that is a picture, sound or
 * file; null for any other value.
 */
export function mediaOf(part) {
  if (typeof part === "string") return ofText(part);
  if (!part || typeof part !== "object") return null;
  if (typeof part.$blob === "string") return ofFile(part);
  if (typeof part.$bytes === "string") return ofSign(part.$bytes);
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
  return ofAudio(part) ?? ofBedrock(part) ?? ofOtherForm(part);
}

function ofOtherForm(part) {
  if (part.type === "file" || part.type === "input_file") return ofData((part.file ?? part).file_data, "");
  if (part.type === "blob") return ofData(part.content, part.mime_type ?? `${part.modality ?? "application"}/*`);
  if (part.type === "uri") return ofAddress(part.uri, part.modality);
  if (part.type === "image_generation_call") return ofData(part.result, `image/${part.output_format ?? "png"}`);
  if (part.base64) return ofData(part.base64, part.mime_type ?? `${part.type}/*`);
  if (part.b64_json) return ofData(part.b64_json, "image/png");
  const address = part.image_url?.url ?? part.image_url ?? part.audio_url?.url ?? part.video_url?.url;
  if (address) return ofAddress(address, "image");
  const type = part.mediaType ?? part.mimeType;
  if ((part.type === "image" || part.type === "audio") && part.data) return ofData(part.data, type ?? `${part.type}/*`);
  if (part.type === "image" && part.image)
    return ofAddress(part.image, "image") ?? ofData(part.image, type ?? "image/*");
  return null;
}

/** Return the sound of a message to OpenAI's models, or of their answer. */
function ofAudio({ input_audio: given, audio }) {
  const sound = given ?? (audio?.data ? audio : null);
  return sound && ofData(sound.data, `audio/${sound.format ?? "wav"}`);
}

function ofBedrock(part) {
  for (const kind of ["image", "video", "audio", "document"]) {
    const data = part[kind]?.source?.bytes;
    const type = kind === "document" ? "application" : kind;
    if (data) return ofData(data.$bytes ?? data, `${type}/${part[kind].format ?? "*"}`);
  }
  return null;
}

/** Return what an address of data, or base64 with the sign of a known type, has. */
function ofText(text) {
  return ofAddress(text) ?? ofSign(text);
}

function ofSign(text) {
  const sign = text.length >= SHORTEST && SIGNS.find(([begin]) => begin.test(text));
  return sign && BASE64.test(text) ? { type: sign[1], data: text } : null;
}

/** Return what a file of an event has, if its type is known. */
function ofFile({ $blob, $len }) {
  const file = fileOf($blob);
  return file && isDrawn(file.kind) ? { type: file.kind, file: { ...file, bytes: file.bytes ?? $len } } : null;
}

const isDrawn = (type) => PICTURES.test(type) || SOUNDS.test(type) || FILMS.test(type);

function ofAddress(text, kind = "") {
  if (text?.$blob) return ofFile(text);
  if (typeof text !== "string") return null;
  const match = text.startsWith("data:") && DATA.exec(text);
  if (match) return { type: match[1].toLowerCase(), data: match[2] };
  return kind && /^https?:\/\//i.test(text) ? { type: kind, address: text } : null;
}

function ofData(data, type) {
  if (data && typeof data === "object") return mediaOf(data);
  if (typeof data !== "string" || typeof type !== "string") return null;
  const address = ofAddress(data);
  if (address || !BASE64.test(data)) return address;
  // The data says more than a type that is missing or a guess.
  return ofSign(data) ?? (type ? { type: type.toLowerCase(), data } : null);
}

/** Return the address of the picture in a value, for an element of a page; null for any other value. */
export function pictureOf(value) {
  const medium = mediaOf(value);
  return medium && PICTURES.test(medium.type) ? sourceOf(medium) : null;
}

const plain = (data) => data.replace(/\s/g, "").replaceAll("-", "+").replaceAll("_", "/");
const sourceOf = ({ type, data, file }) => (file ? file.url : data && `data:${type};base64,${plain(data)}`);

/** Return an element for what `mediaOf` returned. */
export function media(medium) {
  const { type, data, address, file } = medium;
  if (address !== undefined)
    return make("p", {}, `${type || "file"}: `, /^https?:/i.test(address) ? link(address, address) : address);
  const size = file ? file.bytes : Math.floor((plain(data).replace(/=+$/, "").length * 3) / 4);
  const about = make("p", { class: "faint" }, `${type}, ${bytes(size)}`);
  const source = sourceOf(medium);
  if (!source) return make("figure", { class: "media" }, about.textContent, ": not in this report");
  const broken = () => about.append(": it cannot be shown");
  if (PICTURES.test(type))
    return make("figure", { class: "media" }, picture(source, "Picture in a recorded message", { broken }), about);
  const name = SOUNDS.test(type) ? "audio" : FILMS.test(type) ? "video" : null;
  if (!name) return about;
  const label = name === "audio" ? "Sound in a recorded message" : "Video in a recorded message";
  const facts = { src: source, controls: true, preload: "metadata", "aria-label": label, onerror: broken };
  return make("figure", { class: "media" }, make(name, facts), about);
}

/** Return a button with a picture, which opens it as large as the window allows. */
export function picture(source, label, { kind = null, broken } = {}) {
  const open = () => {
    const whole = make("img", { src: source, alt: label });
    const dialog = make(
      "dialog",
      {
        class: "picture",
        "aria-label": label,
        onclose: () => dialog.remove(),
        // A click anywhere closes it, but for one on the close button, which does so by itself.
        onclick: () => dialog.close(),
      },
      make("button", { type: "button", class: "quiet" }, "Close"),
      whole,
    );
    document.body.append(dialog);
    dialog.showModal();
  };
  return make(
    "button",
    { type: "button", class: "picture", title: "Enlarge", "aria-label": `Enlarge: ${label}`, onclick: open },
    make("img", { class: kind, src: source, alt: label, loading: "lazy", onerror: broken }),
  );
}

/** Return the files of an event that are not shown where its values refer to them. */
export function otherFiles(event) {
  const files = event.attachments ?? [];
  const text = files.length ? JSON.stringify({ ...event, raw: null, attachments: null }) : "";
  return files.filter(({ digest, kind }) => !(isDrawn(kind) && text.includes(`"$blob":"${digest}"`)));
}
