// The error page, which needs only the frame.

import "./base.js";
