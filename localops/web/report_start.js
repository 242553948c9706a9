// The first module of a report: it chooses the session, and then the page is as any other.

import { open } from "./report.js";

if (open()) import("./session.js");
else import("./base.js");
