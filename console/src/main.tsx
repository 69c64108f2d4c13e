import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { Shell } from "./Shell";
import { start } from "./stream";
import "@xyflow/react/dist/base.css";
import "./console.css";

const theme = localStorage.getItem("orderplan.theme");
if (theme) document.documentElement.dataset.theme = theme;
start();
createRoot(document.getElementById("root")!).render(<StrictMode><Shell /></StrictMode>);
