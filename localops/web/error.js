// A page that says what went wrong: the frame is all it needs.

import "./base.js";
