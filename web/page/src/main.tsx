import { render } from "preact";
import { App } from "./app.tsx";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/layout.css";
import "./styles/welcome.css";
import "./styles/channels.css";
import "./styles/messages.css";
import "./styles/composer.css";
import "./styles/connection.css";
import "./styles/operator.css";

const root = document.getElementById("app");
if (root) render(<App />, root);
