import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/** Rooms that the composable parts live in; of each other they import only interfaces (type imports). */
const ROOMS = ['models', 'losses', 'data', 'metrics', 'sinks'];

/** The rooms that assemble the others: nothing imports them but the door and the command line. */
const ABOVE = ['pipelines', 'cli'];

/** Pure functions of the field that more than one room computes with. */
const SHARED = ['!**/data/images.js', '!**/models/preconditioning.js'];

const folders = (rooms) => rooms.flatMap((room) => [`**/${room}/**`, `onestep/${room}`]);

/** Files of `room` may not import `forbidden` rooms at all, and of `interfacesOnly` rooms only types. */
const boundary = (room, forbidden, interfacesOnly = []) => ({
  files: [`src/${room}/**/*.ts`],
  ignores: ['**/*.test.ts', '**/test-support.ts', '**/testing.ts'],
  rules: {
    '@typescript-eslint/no-restricted-imports': [
      'error',
      {
        patterns: [
          { group: folders(forbidden), message: `${room} does not import these rooms.` },
          { group: ['onestep', '**/src/index.js'], message: 'Import from the file itself, not from the door of the package.' },
          ...(interfacesOnly.length === 0
            ? []
            : [
                {
                  group: [...folders(interfacesOnly), ...SHARED],
                  allowTypeImports: true,
                  message: `Of other rooms ${room} imports only interfaces.`,
                },
              ]),
        ],
      },
    ],
  },
});

export default tseslint.config(
  { ignores: ['dist', 'docs/api', 'runs', '.onestep', 'coverage'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommended],
    languageOptions: { parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports', disallowTypeAnnotations: false }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-require-imports': ['error', { allow: ['^node:util$'] }],
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', ignoreRestSiblings: true }],
      '@typescript-eslint/only-throw-error': 'error',
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      eqeqeq: ['error', 'smart'],
    },
  },
  {
    // The attributes of TensorFlow.js kernels have no types; vitest's matchers are declared with any.
    files: ['src/core/autodiff/**/*.ts', 'src/core/shape-engine/**/*.ts', 'test/support/**/*.ts'],
    rules: { '@typescript-eslint/no-explicit-any': 'off' },
  },
  {
    // What a terminal is sent is told apart by its control characters.
    files: ['**/*.test.ts'],
    rules: { 'no-control-regex': 'off' },
  },
  boundary('core', [...ROOMS, ...ABOVE]),
  ...ROOMS.map((room) =>
    boundary(
      room,
      ABOVE,
      ROOMS.filter((other) => other !== room),
    ),
  ),
  {
    files: ['**/*.{js,mjs,cjs}'],
    languageOptions: { globals: { console: 'readonly', process: 'readonly', URL: 'readonly', performance: 'readonly' } },
  },
);
