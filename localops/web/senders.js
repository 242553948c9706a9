// The list of machines that send to a hub: the server has drawn it, and times change to the chosen zone.

import { byId } from "./base.js";
import { when, zone } from "./times.js";

if (zone !== "UTC" && byId("senders")) {
  for (const head of document.querySelectorAll("#senders th"))
    head.textContent = head.textContent.replace(" (UTC)", "");
  for (const time of document.querySelectorAll("#senders time"))
    if (/^\d{4}-/.test(time.textContent)) time.textContent = when(time.dateTime);
}
