import 'reflect-metadata';
import './to-be-allclose.js';
